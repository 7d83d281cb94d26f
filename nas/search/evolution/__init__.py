"""Evolutionary search on cheap objectives."""
