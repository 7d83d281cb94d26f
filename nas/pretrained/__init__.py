"""LLaMA-like language models that were trained elsewhere: read, checked, and as the weights of a decoder."""
