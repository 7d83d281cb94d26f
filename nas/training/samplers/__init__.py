"""Which networks a step of training takes."""
