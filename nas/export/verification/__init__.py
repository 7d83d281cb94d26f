"""Verification that an exported file computes what was trained."""
