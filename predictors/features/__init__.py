"""What predictors see of a network."""
