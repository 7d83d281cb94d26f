"""Archive: every measured network, as trials of an Optuna study, so that Optuna's tools and dashboards can read it."""

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, create_trial
from sqlalchemy.exc import SQLAlchemyError

from search_spaces.errors import InvalidInput
from search_spaces.space import Genomes, SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Archive:
    """Measured networks of one kind of measurement: a study with one trial for each network.

    Args:
        space: The space; an archive of another one is refused.
        storage: Database URL, such as `sqlite:///runs/digits/archive.db`.
        study: Name of the study: what is measured, such as `error`.
        names: The measured values; the first is the study's objective, the others are kept as attributes.
        identity: What else a study must agree with, such as which weights were measured.

    Raises:
        InvalidInput: If the database is damaged, or holds a study of another space or identity.
    """

    def __init__(
        self,
        space: SearchSpace,
        storage: str,
        study: str,
        names: tuple[str, ...],
        identity: Mapping[str, str] | None = None,
    ) -> None:
        self.space = space
        self.names = names
        mine = {"space": space.name, "n_genes": str(len(space.choices)), **(identity or {})}
        try:
            self._study = optuna.create_study(
                study_name=study, storage=storage, directions=["minimize"], load_if_exists=True
            )
            theirs = self._study.user_attrs.get("identity")
            if theirs is None:
                self._study.set_user_attr("identity", mine)
                theirs = mine
            differing = [key for key in mine if theirs.get(key) != mine[key]]
            trials = [] if differing else self._study.get_trials(deepcopy=False)
            self._known = {self._key(trial): trial for trial in trials}
        except (SQLAlchemyError, OptunaError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InvalidInput(f"the archive '{storage}' cannot be read ({reason}); move it away to start anew") from error
        if differing:
            what = "; ".join(f"{key} was {theirs.get(key)}, is {mine[key]}" for key in differing)
            raise InvalidInput(f"the archive '{storage}' holds other networks ({what}); use another run folder")

    def lookup(self, genomes: Genomes) -> list[dict[str, float] | None]:
        """Return the measured values of each genome, or None where there are none."""
        trials = [self._known.get(self._text(genome)) for genome in genomes]
        return [self._values(trial) if trial else None for trial in trials]

    def add(self, genomes: Genomes, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep measured values of genomes of shape `(n, n_genes)`, each `(n,)`; written at once."""
        for i, genome in enumerate(genomes):
            architecture = self.space.architecture(genome)
            trial = create_trial(
                params=dict(architecture.options),
                distributions={name: self._distributions[name] for name in architecture.options},
                values=[float(values[self.names[0]][i])],
                user_attrs={
                    "id": architecture.id,
                    "genes": self._text(genome),
                    **{name: float(values[name][i]) for name in self.names[1:]},
                },
            )
            self._study.add_trial(trial)
            self._known[self._text(genome)] = trial

    def measure_missing(
        self,
        genomes: Genomes,
        measure: Callable[[Genomes], Mapping[str, NDArray[np.float64]]],
        progress: Callable[[int, int], None],
    ) -> None:
        """Measure the genomes that are not here yet, one by one so that nothing is lost.

        Args:
            genomes: Shape `(n, n_genes)`.
            measure: Genomes to measured values by name, each `(n,)`.
            progress: Called with genomes done and in all.
        """
        for done, genome in enumerate(genomes, start=1):
            if self.lookup(genome[None])[0] is None:
                self.add(genome[None], measure(genome[None]))
            progress(done, len(genomes))

    def genomes(self) -> Genomes:
        """Return all measured genomes in the order in which they were measured, shape `(n, n_genes)`."""
        rows = [[int(gene) for gene in key.split()] for key in self._known]
        return np.array(rows, np.int16).reshape(-1, len(self.space.choices))

    def frame(self) -> pd.DataFrame:
        """Return the measured values, a row for each network in the order of `genomes`."""
        return pd.DataFrame([self._values(trial) for trial in self._known.values()], columns=list(self.names))

    @cached_property
    def _distributions(self) -> dict[str, CategoricalDistribution]:
        return {choice.name: CategoricalDistribution(choice.options) for choice in self.space.choices}

    def _values(self, trial: FrozenTrial) -> dict[str, float]:
        rest = {name: float(trial.user_attrs[name]) for name in self.names[1:]}
        return {self.names[0]: float(trial.values[0]), **rest}

    def _key(self, trial: FrozenTrial) -> str:
        """Return the genes that a trial was stored under, after a check that they and its values are whole."""
        genes = str(trial.user_attrs["genes"])
        self.space.canonicalize(np.array([[int(gene) for gene in genes.split()]]))
        self._values(trial)
        return genes

    @staticmethod
    def _text(genome: Genomes) -> str:
        return " ".join(str(int(gene)) for gene in genome)
