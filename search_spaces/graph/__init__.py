"""Typed networks."""
