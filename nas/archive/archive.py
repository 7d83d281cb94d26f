"""Archive: every measured network, as trials of an Optuna study, so that Optuna's tools and dashboards can read it."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, create_trial

from nas.archive.storage import open_study, translate_errors, without_password
from search_spaces.errors import InvalidInputError
from search_spaces.space.baselines import formats
from search_spaces.space.space import Genomes, SearchSpace


class Archive:
    """Measured networks of one kind of measurement: a study with one trial for each network.

    Args:
        space: The space; an archive of another one is refused.
        storage: Database URL, such as `sqlite:///runs/digits/archive.db`; of any path: `sqlite_url`.
        study: Name of the study: what is measured, such as `error`.
        names: The measured values; the first is the study's objective, the others are kept as attributes.
        identity: What else a study must agree with, such as which weights were measured.
        later: Those of the names that a study of an earlier version may lack; then they are none of `names`.

    Raises:
        DamagedFileError: If the database is damaged.
        NotReadyError: If it cannot be used now.
        InvalidInputError: If it holds a study of another space or identity.
    """

    def __init__(
        self,
        space: SearchSpace,
        storage: str,
        study: str,
        names: tuple[str, ...],
        identity: Mapping[str, str] | None = None,
        later: tuple[str, ...] = (),
    ) -> None:
        self.space = space
        self.names = names
        self._later = later
        mine = {"space": space.name, "n_genes": str(len(space.choices)), "formats": " ".join(formats(space))}
        mine |= {"digest": space.digest, **(identity or {})}
        self._shown = without_password(storage)
        self._known: dict[str, FrozenTrial] = {}
        self._n_read = 0
        with translate_errors(self._shown):
            self._study, theirs = open_study(study, storage, mine)
            is_older = "digest" not in theirs  # of a version that knew names alone
            theirs = {"digest": space.digest, **theirs}
            differing = [key for key in mine if theirs.get(key) != mine[key]]
            if not differing:
                if is_older:
                    self._study.set_user_attr("identity", theirs)
                self._read()
        if differing:
            what = "; ".join(f"{key} was {theirs.get(key)}, is {mine[key]}" for key in differing)
            raise InvalidInputError(
                f"the archive '{self._shown}' holds other networks ({what}); use another run folder"
                ", or in a database that runs share another `name`"
            )

    def lookup(self, genomes: Genomes) -> list[dict[str, float] | None]:
        """Return the measured values of each genome, or None where there are none; also what others have added meanwhile."""
        with translate_errors(self._shown):
            self._read()
        trials = [self._known.get(self._text(genome)) for genome in genomes]
        return [self._values(trial) if trial else None for trial in trials]

    def add(self, genomes: Genomes, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep measured values of genomes of shape `(n, n_genes)`, each `(n,)`; written at once.

        Raises:
            InvalidInputError: If other values are given than the archive keeps, or the database cannot be written.
        """
        if set(self.names) - set(values) or set(values) - set(self.names) - set(self._later):
            raise InvalidInputError(
                f"the archive '{self._shown}' keeps {list(self.names)} of each network, got {list(values)}"
            )
        for i, genome in enumerate(genomes):
            subnet = self.space.subnet(genome)
            trial = create_trial(
                params=dict(subnet.options),
                distributions={name: self._distributions[name] for name in subnet.options},
                values=[float(values[self.names[0]][i])],
                user_attrs={
                    "id": subnet.id,
                    "genes": self._text(genome),
                    "check": _check(self._text(genome), [float(values[name][i]) for name in self.names]),
                    **{name: float(values[name][i]) for name in self.names[1:]},
                },
            )
            with translate_errors(self._shown):
                self._study.add_trial(trial)
            self._known.setdefault(self._text(genome), trial)

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

    def _read(self) -> None:
        """Take in the trials added since the last time; where two searches measured a network, the first counts."""
        trials = self._study.get_trials(deepcopy=False)
        if trials and not self._n_read:
            lacking = {name for name in self._later if name not in trials[0].user_attrs}
            self.names = tuple(name for name in self.names if name not in lacking)
        for trial in trials[self._n_read :]:
            self._known.setdefault(self._key(trial), trial)
        self._n_read = len(trials)

    @cached_property
    def _distributions(self) -> dict[str, CategoricalDistribution]:
        return {choice.name: CategoricalDistribution(choice.options) for choice in self.space.named_choices}

    def _values(self, trial: FrozenTrial) -> dict[str, float]:
        rest = {name: float(trial.user_attrs[name]) for name in self.names[1:]}
        return {self.names[0]: float(trial.values[0]), **rest}

    def _key(self, trial: FrozenTrial) -> str:
        """Return the genes that a trial was stored under, after a check that they and its values are whole."""
        genes = str(trial.user_attrs["genes"])
        try:
            self.space.canonicalize(np.array([[int(gene) for gene in genes.split()]]))
        except InvalidInputError as error:
            raise ValueError(str(error)) from error
        values = self._values(trial)
        if trial.user_attrs["check"] != _check(genes, [values[name] for name in self.names]):
            raise ValueError(f"trial {trial.number} is not what was written")
        return genes

    @staticmethod
    def _text(genome: Genomes) -> str:
        return " ".join(str(int(gene)) for gene in genome)


def _check(genes: str, values: list[float]) -> str:
    """Return what tells whether a trial still holds what was written."""
    return hashlib.sha256(f"{genes} {values!r}".encode()).hexdigest()[:8]
