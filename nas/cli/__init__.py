"""The command `hwnas`."""

from nas.cli.command import main

__all__ = ["main"]
