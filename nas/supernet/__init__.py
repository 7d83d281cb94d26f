"""The supernet: shared weights, and every network cut out of them."""
