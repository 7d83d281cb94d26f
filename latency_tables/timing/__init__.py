"""The measurement protocol."""
