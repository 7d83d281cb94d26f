"""What a run has measured of its networks: its studies in the archive, and one table made of them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from nas.archive.archive import Archive
from nas.archive.storage import drop_study
from nas.events.progress import progress_bar
from nas.objectives.columns import Column, minimized
from nas.objectives.evaluator import Evaluator
from nas.objectives.objective import Objective
from nas.run.folder import RunFolder
from nas.run.latencies import Latencies
from nas.search.measurements import Measurements
from nas.search.order import ByLoss, ByMetric, order_of
from nas.tasks.metric import METRICS
from nas.tasks.task import Task
from search_spaces.errors import InvalidInputError, NotReadyError
from search_spaces.space.space import Genomes, SearchSpace
from search_spaces.space.subnet import Subnet

logger = logging.getLogger(__name__)


class Archives:
    """The studies of a run.

    Args:
        folder: The run folder.
        space: The space.
        task: Names the metrics.
        n_val: Validation samples.
        weights: Gives what measurements depend on, see `nas.run.trained.weights_identity`.
    """

    def __init__(
        self, folder: RunFolder, space: SearchSpace, task: Task, n_val: int, weights: Callable[[], Mapping[str, str]]
    ) -> None:
        self.folder = folder
        self.space = space
        self.task = task
        self.n_val = n_val
        self._weights = weights

    @cached_property
    def weights(self) -> Mapping[str, str]:
        """What measurements depend on."""
        return self._weights()

    @property
    def storage(self) -> str:
        """URL of the database that holds the archive."""
        return self.folder.experiment.archive or self.folder.storage

    @cached_property
    def validation(self) -> Archive:
        """The metrics on the validation split."""
        names = tuple(metric.name for metric in self.task.metrics)
        return self.open(names[0], names, self.weights, (self.task.metric.loss,))

    @cached_property
    def test(self) -> Archive:
        """The metrics on the test split."""
        names = tuple(f"{metric.name}_test" for metric in self.task.metrics)
        return self.open(names[0], names, self.weights, (f"{self.task.metric.loss}_test",))

    @cached_property
    def order(self) -> ByLoss | ByMetric | None:
        """By what networks are ranked instead of the metric; None: by the metric."""
        metric, names = self.task.metric, self.validation.names
        if metric.loss and metric.loss not in names:
            logger.warning(
                "the archive of '%s' is of a version that kept no %s: networks are ranked by %s alone",
                self.folder.path,
                METRICS[metric.loss].title,
                metric.title,
            )
        search = self.folder.experiment.search
        return order_of(metric, names, self.n_val, self.task.chance / 10, search.noise, search.order)

    def open(self, study: str, names: tuple[str, ...], identity: Mapping[str, str], later: tuple[str, ...] = ()) -> Archive:
        """Return a study; in a database that runs share, they are told apart by the run's name."""
        return Archive(self.space, self.storage, self._named(study), names, identity, later)

    def drop(self, study: str) -> None:
        """Drop a study, if it is there."""
        drop_study(self.storage, self._named(study))

    def _named(self, study: str) -> str:
        experiment, number = self.folder.experiment, self.folder.number
        rounds = f" round {number}" if number else ""
        return f"{experiment.name}{rounds}: {study}" if experiment.archive else study

    def genomes(self) -> Genomes:
        """Return the networks that were measured, in order, shape `(n, n_genes)`."""
        return self.validation.genomes()

    def ranked(self) -> np.ndarray:
        """Return what the measured networks are ranked by, in the order of `genomes`, shape `(n,)`; minimised."""
        frame, metric = self.validation.frame(), self.task.metric.name
        if self.order is None:
            return minimized(Column(metric, "val"), frame[metric].to_numpy())
        return self.order({name: frame[name].to_numpy() for name in self.validation.names})

    def subnet(self, subnet_id: str) -> Subnet:
        """Return a measured network by its id.

        Raises:
            InvalidInputError: If there is none.
        """
        if not isinstance(subnet_id, str):
            raise InvalidInputError(f"a network is named by its id, as front['id'] has them; got {type(subnet_id).__name__}")
        for subnet in self.space.subnets(self.genomes()):
            if subnet.id == subnet_id:
                return subnet
        path = self.folder.path
        raise InvalidInputError(
            f"'{path}' has measured no subnet '{subnet_id}'; `hwnas front {path}` lists those of the front"
        )

    def measure_test(self, genomes: Genomes, evaluator: Evaluator) -> dict[Column, np.ndarray]:
        """Return the metrics of networks on the test split by column, each `(n,)`; what is missing is measured and kept."""
        archive = self.test

        def measure(genome: Genomes) -> dict[str, np.ndarray]:
            found = evaluator.evaluate(self.space.subnets(genome), "test")
            return {f"{name}_test": values for name, values in found.items()}

        with progress_bar("testing the front") as update:
            archive.measure_missing(genomes, measure, update)
        rows = archive.lookup(genomes)
        return {Column.from_name(name): np.array([row[name] for row in rows if row]) for name in archive.names}

    def measurements(self, latencies: Sequence[Latencies], costs: Mapping[str, Objective]) -> Measurements:
        """Return every measured network, in the order of measurement; NaN where something was not measured.

        Args:
            latencies: Of the run's devices.
            costs: Exact costs by name.

        Raises:
            NotReadyError: If nothing was measured.
        """
        genomes = self.genomes()
        if not len(genomes):
            folder = self.folder
            raise NotReadyError(f"'{folder.path}' has measured no networks yet; measure some with `{folder.command}`")
        frame, tested = self.validation.frame(), self.test.lookup(genomes)
        values: dict[Column, np.ndarray] = {}
        for name in self.validation.names:
            test = [np.nan if found is None else found.get(f"{name}_test", np.nan) for found in tested]
            values |= {Column(name, "val"): frame[name].to_numpy(), Column(name, "test"): np.array(test)}
        for each in latencies:
            values |= each.known(genomes)
        values |= {each.column.predicted: each.predicted()(genomes) for each in latencies}
        values |= {Column.from_name(name): cost(genomes) for name, cost in costs.items()}
        orders = {Column(self.task.metric.name, "val"): self.ranked()} if self.order else {}
        return Measurements(self.space, genomes, values, orders)
