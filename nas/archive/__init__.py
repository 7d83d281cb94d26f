"""Archive of measurements in Optuna's studies."""

from nas.archive.archive import Archive

__all__ = ["Archive"]
