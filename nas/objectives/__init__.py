"""What a search minimises."""
