"""Training of the supernet."""
