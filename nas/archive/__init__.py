"""What was measured, kept in Optuna's studies."""

from nas.archive.archive import Archive

__all__ = ["Archive"]
