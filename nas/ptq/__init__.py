"""Models that a user has trained: read, repaired in every format, priced."""
