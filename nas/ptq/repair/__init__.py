"""Repair: what rounding does to a layer, made good."""
