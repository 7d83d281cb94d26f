"""Number formats as torch functions."""
