"""Samplers of the networks of a training step."""
