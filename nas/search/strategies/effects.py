"""Effects of single choices: a line over hundreds of cheap losses, its exact front under limits, and that is measured."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas.search.evolution.variation import reset_genes
from nas.search.screening import Screen, draw_screened
from nas.search.state import SearchState
from nas.search.strategies.exact import additive, front_of, interesting, thinned
from nas.search.strategies.predictor import SHORTLISTED, Surrogate, initial_design, most_promising
from nas.search.strategies.strategy import STRATEGIES, random_networks, seeds
from predictors import Features, ResidualPredictor, RidgePredictor, Signal, build_predictor, linear_table
from predictors.features.topology import checked_traits
from search_spaces.costs import FactorTable
from search_spaces.errors import check_range
from search_spaces.space.space import Genomes

Floats = NDArray[np.float64]

START = 6  # networks of the first front that are measured


@dataclass
class Effects:
    """What single choices do to one measured objective.

    Attributes:
        features: What the lines see; no signals.
        screen: What a signal has said that estimates it; None where there is none.
    """

    features: Features
    screen: Screen | None

    def promised(self) -> FactorTable:
        """Return the line over what the signal has said, as a table; the signal itself if it is one."""
        assert self.screen is not None
        if isinstance(self.screen.signal.values, FactorTable):
            return self.screen.signal.values
        genomes, values = self.screen.known
        return linear_table(self.features, RidgePredictor().fit(self.features(genomes), values[:, 0]))

    def line(self, state: SearchState, name: str) -> Surrogate:
        """Return the line as measurements of the objective correct it; without a signal, the line over these."""
        if not self.screen:
            return Surrogate(self.features, RidgePredictor(), state, name)
        features = self.features.with_signals((Signal("effects", self.promised(), slope=1.0),))
        return Surrogate(features, ResidualPredictor(RidgePredictor()), state, name)

    def surrogate(self, state: SearchState, name: str) -> Surrogate:
        """Return what the signal itself predicts, corrected by a Gaussian process."""
        features = self.features.with_signals((self.screen.asked,)) if self.screen else self.features
        return Surrogate(features, build_predictor("gaussian_process", features), state, name)


@STRATEGIES.register("effects")
@dataclass
class EffectsStrategy:
    """A line over cheap losses of random networks and its exact front; what is measured of that corrects the line.

    Without a signal that estimates what is measured the line learns from measurements alone.

    Attributes:
        traits: Traits of blocks whose pairs the line sees, see `predictors.features.topology.TRAITS`.
        screened: Random networks of which the signal is asked for, for each that may be measured; at most 400 in all.

    Source:
        BINAS, Nayman et al. 2021, arXiv:2110.12399: an estimator of single choices and pairs from sampled networks, and a
        solver. Differs: the estimator learns signals, then what measurements leave, and the solver gives the exact front.
    """

    traits: tuple[str, ...] = ()
    screened: float = 5.0
    _effects: dict[str, Effects] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.traits = checked_traits(self.traits)
        check_range("screened", self.screened, 0, 1_000)

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`.

        Raises:
            InvalidInputError: If a cheap objective is no sum of tables, or a constraint is no upper limit on one.
        """
        cheap = additive(state.cheap, state.constraints)
        self._ask(state, rng)
        if len(state):
            lines = {name: self._effects[name].line(state, name) for name in state.expensive}
            tables = {name: linear_table(line.features, line.model) for name, line in lines.items()}
        elif self._effects and all(each.screen for each in self._effects.values()):
            tables = {name: each.promised() for name, each in self._effects.items()}
        else:
            return initial_design(state, n, rng)
        tables |= cheap
        front = front_of(state, tables, interesting(state, lines) if len(state) else None)
        if not len(state):
            return state.unmeasured(np.concatenate([seeds(state), thinned(front, max(n, START))]))
        candidates = state.open(np.concatenate([front, state.space.canonicalize(reset_genes(state.space, front, rng))]))
        if not len(candidates):
            return random_networks(state, n, rng)
        shortlist = candidates[most_promising(state, lines, candidates, SHORTLISTED * n)]
        surrogates = {name: self._effects[name].surrogate(state, name) for name in state.expensive}
        return shortlist[most_promising(state, surrogates, shortlist, n)]

    def _ask(self, state: SearchState, rng: np.random.Generator) -> None:
        """Ask for the signals of all objectives that were not known before."""
        new = [name for name in state.expensive_names if name not in self._effects]
        features = Features(state.space, self.traits, sees_cell=False)
        drawn = draw_screened(state, self.screened, rng) if new else state.genomes
        for name in new:
            estimates = [signal for signal in state.signals.get(name, ()) if signal.slope == 1]
            estimate = min(estimates, key=lambda signal: signal.is_free, default=None)  # what costs says more
            self._effects[name] = Effects(features, Screen(estimate, features) if estimate and len(drawn) else None)
            if screen := self._effects[name].screen:
                screen.ask(drawn)
