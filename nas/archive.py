"""Archive: every measured network, as trials of an Optuna study, so that Optuna's tools and dashboards can read it."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import OptunaError, StorageInternalError
from optuna.trial import FrozenTrial, create_trial
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from search_spaces.errors import InvalidInput
from search_spaces.space.baselines import formats
from search_spaces.space.space import Genomes, SearchSpace

N_ATTEMPTS = 5  # to make a study that another process is making too
PATIENCE = 30  # seconds that SQLite waits for another process
REMEDIES = {  # by a word of what the database says
    "is locked": "another process is using it; try again when that has ended",
    "disk is full": "make room, and the same command goes on",
    "disk i/o": "make room, and the same command goes on",
    "readonly": "make it writable, and the same command goes on",
    "unable to open": "make its folder readable and writable, and the same command goes on",
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Archive:
    """Measured networks of one kind of measurement: a study with one trial for each network.

    Args:
        space: The space; an archive of another one is refused.
        storage: Database URL, such as `sqlite:///runs/digits/archive.db`; of any path: `sqlite_url`.
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
        mine = {"space": space.name, "n_genes": str(len(space.choices)), "formats": " ".join(formats(space))}
        mine |= identity or {}
        self._shown = without_password(storage)
        self._known: dict[str, FrozenTrial] = {}
        self._n_read = 0
        with explained(self._shown):
            self._study, theirs = _open_study(study, storage, mine)
            differing = [key for key in mine if theirs.get(key) != mine[key]]
            if not differing:
                self._read()
        if differing:
            what = "; ".join(f"{key} was {theirs.get(key)}, is {mine[key]}" for key in differing)
            raise InvalidInput(
                f"the archive '{self._shown}' holds other networks ({what}); use another run folder"
                ", or in a database that runs share another `name`"
            )

    def lookup(self, genomes: Genomes) -> list[dict[str, float] | None]:
        """Return the measured values of each genome, or None where there are none; also what others have added meanwhile."""
        with explained(self._shown):
            self._read()
        trials = [self._known.get(self._text(genome)) for genome in genomes]
        return [self._values(trial) if trial else None for trial in trials]

    def add(self, genomes: Genomes, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep measured values of genomes of shape `(n, n_genes)`, each `(n,)`; written at once.

        Raises:
            InvalidInput: If other values are given than the archive keeps, or the database cannot be written.
        """
        if set(values) != set(self.names):
            raise InvalidInput(f"the archive '{self._shown}' keeps {list(self.names)} of each network, got {list(values)}")
        for i, genome in enumerate(genomes):
            architecture = self.space.architecture(genome)
            trial = create_trial(
                params=dict(architecture.options),
                distributions={name: self._distributions[name] for name in architecture.options},
                values=[float(values[self.names[0]][i])],
                user_attrs={
                    "id": architecture.id,
                    "genes": self._text(genome),
                    "check": _check(self._text(genome), [float(values[name][i]) for name in self.names]),
                    **{name: float(values[name][i]) for name in self.names[1:]},
                },
            )
            with explained(self._shown):
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
        for trial in trials[self._n_read :]:
            self._known.setdefault(self._key(trial), trial)
        self._n_read = len(trials)

    @cached_property
    def _distributions(self) -> dict[str, CategoricalDistribution]:
        return {choice.name: CategoricalDistribution(choice.options) for choice in self.space.choices}

    def _values(self, trial: FrozenTrial) -> dict[str, float]:
        rest = {name: float(trial.user_attrs[name]) for name in self.names[1:]}
        return {self.names[0]: float(trial.values[0]), **rest}

    def _key(self, trial: FrozenTrial) -> str:
        """Return the genes that a trial was stored under, after a check that they and its values are whole."""
        genes = str(trial.user_attrs["genes"])
        try:
            self.space.canonicalize(np.array([[int(gene) for gene in genes.split()]]))
        except InvalidInput as error:
            raise ValueError(str(error)) from error
        values = self._values(trial)
        if trial.user_attrs["check"] != _check(genes, [values[name] for name in self.names]):
            raise ValueError(f"trial {trial.number} is not what was written")
        return genes

    @staticmethod
    def _text(genome: Genomes) -> str:
        return " ".join(str(int(gene)) for gene in genome)


@contextmanager
def explained(shown: str) -> Iterator[None]:
    """Turn what a database raises into one sentence.

    Args:
        shown: Its URL, without a password.
    """
    try:
        yield
    except InvalidInput:
        raise
    except (SQLAlchemyError, OptunaError, RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        root = _root(error)
        reason = (str(root).splitlines() or [type(root).__name__])[0]
        remedy = next((text for word, text in REMEDIES.items() if word in reason.lower()), None)
        if remedy:
            raise InvalidInput(f"the archive '{shown}' cannot be used now ({reason}); {remedy}") from error
        way_out = "move it away to start anew" if shown.startswith("sqlite") else "is the server there?"
        raise InvalidInput(f"the archive '{shown}' cannot be read ({reason}); {way_out}") from error


def _root(error: BaseException) -> BaseException:
    """Return the error that caused an error: Optuna wraps those of the database."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _check(genes: str, values: list[float]) -> str:
    """Return what tells whether a trial still holds what was written."""
    return hashlib.sha256(f"{genes} {values!r}".encode()).hexdigest()[:8]


def _open_study(name: str, url: str, identity: dict[str, str]) -> tuple[optuna.Study, dict[str, str]]:
    """Return the study and its identity; made if it is not there, also where two processes make it at the same moment."""
    for attempt in range(N_ATTEMPTS):
        try:
            study = optuna.create_study(
                study_name=name, storage=open_storage(url), directions=["minimize"], load_if_exists=True
            )
            if "identity" not in study.user_attrs:
                study.set_user_attr("identity", identity)
            return study, study.user_attrs["identity"]
        except (IntegrityError, OperationalError, ProgrammingError, StorageInternalError) as error:
            if attempt == N_ATTEMPTS - 1 or "is locked" in str(_root(error)):  # it has been waited for
                raise
            time.sleep(0.2)
    raise AssertionError("unreachable")


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Return what Optuna opens, without connections that stay open between uses; PostgreSQL by psycopg 3.

    Raises:
        InvalidInput: If the driver is missing.
    """
    if url.startswith("postgresql:"):
        if find_spec("psycopg") is None:
            raise InvalidInput(
                "an archive on PostgreSQL needs its driver; install it with `pip install 'hwnas[postgresql]'`"
            )
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
    settings = {"connect_args": {"timeout": PATIENCE}} if url.startswith("sqlite:") else {}
    return optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool, **settings})


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file at any path, whatever a URL would take its letters for.

    Source: SQLite's URI filenames, https://www.sqlite.org/uri.html, for SQLAlchemy before 2.1, which escapes nothing;
        Optuna takes braces for its own.
    """
    plain = str(path.resolve())
    url = URL.create("sqlite", database=plain).render_as_string(hide_password=False)
    return url if make_url(url).database == plain and "{" not in url else f"sqlite:///file:{quote(plain)}?uri=true"


def owner(storage: str, study: str, claimed_by: str) -> str:
    """Return to whom a study belongs; if it is not there it is made for `claimed_by`.

    Raises:
        InvalidInput: If the database cannot be opened.
    """
    with explained(without_password(storage)):
        return _open_study(study, storage, {"owner": claimed_by})[1]["owner"]


def has_study(storage: str, study: str) -> bool:
    """Return whether a database holds a study; one that is not there is made.

    Raises:
        InvalidInput: If it cannot be opened.
    """
    with explained(without_password(storage)):
        return study in optuna.study.get_all_study_names(open_storage(storage))


def drop_study(storage: str, study: str) -> None:
    """Remove a study from a database, if it is there.

    Raises:
        InvalidInput: If it cannot be opened.
    """
    with explained(without_password(storage)), suppress(KeyError):
        optuna.delete_study(study_name=study, storage=open_storage(storage))


def without_password(storage: str) -> str:
    """Return a database URL as it may be shown."""
    try:
        return make_url(storage).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return storage
