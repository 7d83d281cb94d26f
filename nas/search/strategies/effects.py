"""Effects of single choices: a line over hundreds of cheap losses, its exact front under limits, and that is measured."""

from dataclasses import dataclass, field, replace

import numpy as np

from nas.search.evolution.variation import reset_genes
from nas.search.exact import exact_front
from nas.search.screening import Screen, draw_screened
from nas.search.state import SearchState
from nas.search.strategies.exact import TOLERANCE, additive
from nas.search.strategies.predictor import Surrogate, most_promising
from nas.search.strategies.strategy import STRATEGIES, random_networks, seeds
from predictors import Features, ResidualPredictor, RidgePredictor, Signal, build_predictor, linear_table
from predictors.features.topology import LABELS
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError, check_range
from search_spaces.space.space import Genomes

START = 6  # networks of the first front that are measured


@dataclass
class Effects:
    """One measured objective: its cheap signal, and what that says of single choices.

    Attributes:
        screen: What the signal has said.
        features: What the lines see; no signals.
    """

    screen: Screen
    features: Features

    def table(self) -> FactorTable:
        """Return the line over what the signal has said, as a table."""
        genomes, values = self.screen.known
        return linear_table(self.features, RidgePredictor().fit(self.features(genomes), values[:, 0]))

    def corrected(self, state: SearchState, name: str, table: FactorTable) -> FactorTable:
        """Return the line, corrected by what was measured."""
        features = self.features.with_signals((Signal("effects", table, slope=1.0),))
        surrogate = Surrogate(features, ResidualPredictor(RidgePredictor()), state.genomes, state.expensive[name])
        return linear_table(features, surrogate.model)  # type: ignore[arg-type]  # the very one that was given

    def surrogate(self, state: SearchState, name: str) -> Surrogate:
        """Return what the signal itself, corrected by a Gaussian process, predicts."""
        features = self.features.with_signals((self.screen.asked,))
        return Surrogate(features, build_predictor("gaussian_process", features), state.genomes, state.expensive[name])


@STRATEGIES.register("effects")
@dataclass
class EffectsStrategy:
    """A line over cheap losses of random networks and its exact front; what is measured of that corrects the line.

    Attributes:
        labels: Labels of blocks whose pairs the line sees, see `predictors.features.topology.LABELS`.
        screened: Random networks of which the signal is asked for, for each that may be measured; at most 400 in all.

    Source:
        BINAS, Nayman et al. 2021, arXiv:2110.12399: an estimator of single choices and pairs from sampled networks, and a
        solver. Differs: the estimator learns signals, then what measurements leave, and the solver gives the exact front.
    """

    labels: tuple[str, ...] = ()
    screened: float = 5.0
    _effects: dict[str, Effects] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.labels = tuple(self.labels)
        for label in self.labels:
            LABELS.get(label)
        check_range("screened", self.screened, 0, 1_000)

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`.

        Raises:
            InvalidInputError: If an objective has no signal that estimates it, a cheap objective is no sum of tables, or a
                constraint is no upper limit on one.
        """
        cheap = additive(state.cheap, state.constraints)
        if not self._effects:
            self._begin(state, rng)
        tables = {name: each.table() for name, each in self._effects.items()}
        if len(state):
            tables = {name: each.corrected(state, name, tables[name]) for name, each in self._effects.items()}
        tables |= cheap
        front = exact_front(state.space, tables, tolerance=TOLERANCE if len(tables) > 2 else 0.0).genomes
        if not len(state):
            spread = state.open(front)
            spread = spread[np.linspace(0, len(spread) - 1, min(len(spread), max(n, START))).round().astype(int)]
            return state.unmeasured(np.concatenate([seeds(state), spread]))
        candidates = state.open(np.concatenate([front, state.space.canonicalize(reset_genes(state.space, front, rng))]))
        if not len(candidates):
            return random_networks(state, n, rng)
        surrogates = {name: each.surrogate(state, name) for name, each in self._effects.items()}
        return candidates[most_promising(state, surrogates, candidates, n)]

    def _begin(self, state: SearchState, rng: np.random.Generator) -> None:
        features = replace(Features(state.space, self.labels), sees_cell=False)
        drawn = draw_screened(state, self.screened, rng)
        for name in state.expensive_names:
            estimates = [s for s in state.signals.get(name, ()) if s.slope == 1]
            if not estimates:
                raise InvalidInputError(
                    f"strategy 'effects' needs a signal that estimates '{name}', as search.signals: [loss] of a run"
                )
            screen = Screen(estimates[0], features)
            screen.ask(drawn)
            self._effects[name] = Effects(screen, features)
