"""Contract of every registered task, data set, objective and strategy, by the checks that authors of plug-ins import."""

import pytest

from nas.data import DATASETS, load_dataset
from nas.data.fashion_mnist import DEBIAN_FASHION_MNIST
from nas.objectives.objective import OBJECTIVES
from nas.search.strategies import STRATEGIES
from nas.tasks import TASKS
from nas.testing import check_dataset, check_objective, check_strategy, check_task

NEED_A_PATH = {"npz", "image_folder"}
DATA = {"classification": "digits", "regression": "rotated_digits"}


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_keeps_the_contract(name):
    check_task(name, load_dataset(DATA[name], targets=TASKS.get(name).targets))


@pytest.mark.parametrize("name", sorted(set(DATASETS) - NEED_A_PATH))
def test_every_data_set_keeps_the_contract(name):
    if name == "fashion_mnist" and not DEBIAN_FASHION_MNIST.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    check_dataset(name, targets="numbers" if name == "rotated_digits" else "labels")


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_keeps_the_contract(name, tiny_space):
    check_objective(name, tiny_space)


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_keeps_the_contract(name):
    check_strategy(STRATEGIES.get(name))
