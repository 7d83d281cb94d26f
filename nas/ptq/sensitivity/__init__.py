"""Sensitivity: what each group loses in each format, as a table that adds up to the divergence of any mixture."""

from nas.ptq.sensitivity import averaged, fisher, measured, mixtures  # noqa: F401 - registers them
from nas.ptq.sensitivity.sensitivity import SENSITIVITIES, Sensitivity

__all__ = ["SENSITIVITIES", "Sensitivity"]
