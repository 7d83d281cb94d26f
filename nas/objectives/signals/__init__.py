"""Signals of networks; each is a function, registered under its name."""

from nas.objectives.signals import fisher
from nas.objectives.signals.supernet import SIGNALS, AbsoluteLayers

__all__ = ["SIGNALS", "AbsoluteLayers", "fisher"]
