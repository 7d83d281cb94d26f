"""Runs: an experiment in a folder, stage by stage."""
