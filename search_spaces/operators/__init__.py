"""Operators, a family a file."""
