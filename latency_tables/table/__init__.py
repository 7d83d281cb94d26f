"""Latency tables: planned, measured, fitted, validated."""
