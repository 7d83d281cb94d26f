"""Number formats, and where tensors are quantized."""
