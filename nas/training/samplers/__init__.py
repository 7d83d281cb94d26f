"""Samplers of the networks of a training step; each is a file, registered under its name."""

from nas.training.samplers import front, pareto, sandwich, single_path
from nas.training.samplers.sampler import SAMPLERS, Around, Moment, Sampler, draw_graphs

__all__ = ["SAMPLERS", "Around", "Moment", "Sampler", "draw_graphs", "front", "pareto", "sandwich", "single_path"]
