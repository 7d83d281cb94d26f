"""Contract tests for authors of plug-ins: each `check_*` raises `AssertionError` where a part breaks its contract.

    from nas import testing

    def test_my_space():
        testing.check_space(my_space())

hwnas runs the same checks over everything that is registered.
"""

from nas.testing.data import check_dataset
from nas.testing.objectives import check_objective
from nas.testing.operators import check_operator
from nas.testing.predictors import check_predictor
from nas.testing.runtimes import check_runtime
from nas.testing.spaces import check_space
from nas.testing.strategies import check_strategy
from nas.testing.tasks import check_task

__all__ = [
    "check_dataset",
    "check_objective",
    "check_operator",
    "check_predictor",
    "check_runtime",
    "check_space",
    "check_strategy",
    "check_task",
]
