"""What an adoption does unless told otherwise: it has fewer and larger networks than an experiment that trains."""

from typing import Any

ADOPTED_TABLE: dict[str, Any] = {"rounds": 6, "seconds": 0.02, "n_fit": 16, "n_held_out": 12}
ADOPTED_SEARCH: dict[str, Any] = {"n_measurements": 60}
