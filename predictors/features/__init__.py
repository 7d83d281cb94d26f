"""Features of networks."""
