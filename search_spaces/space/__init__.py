"""Choices, genomes, search spaces."""
