"""What a run says while it works, where, and in how many processes."""
