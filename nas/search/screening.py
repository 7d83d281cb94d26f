"""Screening: a signal that costs is asked for of some hundred networks, each once, and predicted for all others."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nas.search.state import SearchState
from nas.search.strategies.strategy import feasible, random_networks
from predictors import Features, Predictor, Signal, build_predictor
from predictors.predictor import relearn
from search_spaces.space.space import Genomes

Floats = NDArray[np.float64]


MOST, LEAST = 400, 20  # networks that are screened


def draw_screened(state: SearchState, share: float, rng: np.random.Generator) -> Genomes:
    """Return random networks that satisfy the constraints: `share` for each that may be measured, 20 to 400.

    Fewer, found by evolution, where constraints leave so little that chance does not meet it.
    """
    n = int(min(MOST, max(share * state.budget, LEAST)))
    found = random_networks(state, n, rng)
    if len(found) < LEAST and state.constraints:
        found = state.open(np.concatenate([found, feasible(state, rng)]))
    return found


@dataclass(eq=False)
class Screen:
    """What a costly signal has said, and a predictor of what it would say.

    Attributes:
        signal: Costs a tenth of a measurement or so.
        features: What its predictor sees.
    """

    signal: Signal
    features: Features
    _known: dict[bytes, Floats] = field(default_factory=dict)
    _models: list[Predictor] = field(default_factory=list)
    _n_learned: int = 0

    def ask(self, genomes: Genomes) -> None:
        """Ask for the signal of networks, shape `(n, n_genes)`, where it is not known yet."""
        due = {key: row for key, row in zip(_keys(genomes), genomes, strict=True) if key not in self._known}
        if due:
            self._known |= dict(zip(due, self.signal(np.array(list(due.values()))), strict=True))

    @property
    def known(self) -> tuple[Genomes, Floats]:
        """The networks that it was asked for, shape `(n, n_genes)`, and what it said, `(n, n_columns)`."""
        genomes = np.array([np.frombuffer(key, np.int16) for key in self._known])
        return genomes, self._asked(genomes)

    def learn(self) -> None:
        """Let the predictor learn from everything that is known."""
        if len(self._known) == self._n_learned:
            return
        genomes, values = self.known
        seen = self.features(genomes)
        if not self._models:
            name = "gaussian_process" if self.signal.n_columns == 1 else "ridge"  # of many columns lines will do
            self._models = [build_predictor(name, self.features).fit(seen, y) for y in values.T]
        else:
            for model, y in zip(self._models, values.T, strict=True):
                relearn(model, seen, y)
        self._n_learned = len(self._known)

    @property
    def asked(self) -> Signal:
        """The signal itself: networks of which it is not known are asked for."""
        return replace(self.signal, values=self._asked, is_free=True)

    @property
    def predicted(self) -> Signal:
        """The signal as predicted, also of networks of which it is known: what is learned with it holds for all."""
        return replace(self.signal, values=self._predicted, is_free=True)

    def _asked(self, genomes: Genomes) -> Floats:
        self.ask(genomes)
        found: Floats = np.array([self._known[key] for key in _keys(genomes)])
        known = np.array(list(self._known.values()))
        worst = np.where(np.isfinite(known), known, -np.inf).max(axis=0)
        worst = np.where(np.isfinite(worst), worst, 0.0)
        return np.where(np.isfinite(found), found, worst)  # a network that gives no number is as bad as any

    def _predicted(self, genomes: Genomes) -> Floats:
        seen = self.features(genomes)
        return np.column_stack([model.predict(seen) for model in self._models])


def _keys(genomes: Genomes) -> list[bytes]:
    return [row.tobytes() for row in genomes.astype(np.int16)]
