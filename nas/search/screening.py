"""Screening: a signal that costs is asked for of some hundred networks, each once, and predicted for all others."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from predictors import Features, Predictor, Signal, build_predictor
from predictors.predictor import relearn
from search_spaces.space.space import Genomes

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Screen:
    """What a costly signal has said, and a predictor of what it would say.

    Attributes:
        signal: Costs a tenth of a measurement or so.
        features: What its predictor sees.
        predictor: Name of the predictor.
    """

    signal: Signal
    features: Features
    predictor: str = "gaussian_process"
    _known: dict[bytes, float] = field(default_factory=dict)
    _model: Predictor | None = None
    _n_learned: int = 0

    def ask(self, genomes: Genomes) -> None:
        """Ask for the signal of networks, shape `(n, n_genes)`, where it is not known yet."""
        due = [row for row in {row.tobytes(): row for row in genomes}.values() if row.tobytes() not in self._known]
        if due:
            values = self.signal.values(np.array(due, np.int16))
            self._known.update({row.tobytes(): float(value) for row, value in zip(due, values, strict=True)})

    def learn(self) -> None:
        """Let the predictor learn from everything that is known."""
        if len(self._known) == self._n_learned:
            return
        genomes = np.array([np.frombuffer(key, np.int16) for key in self._known])
        y = np.array(list(self._known.values()))
        fits = np.isfinite(y)
        seen = self.features(genomes[fits])
        if self._model is None:
            self._model = build_predictor(self.predictor, self.features).fit(seen, y[fits])
        else:
            relearn(self._model, seen, y[fits])
        self._n_learned = len(self._known)

    @property
    def asked(self) -> Signal:
        """The signal itself: networks of which it is not known are asked for."""
        return Signal(self.signal.name, self._asked, self.signal.slope)

    @property
    def predicted(self) -> Signal:
        """The signal as predicted, also of networks of which it is known: what is learned with it holds for all."""
        return Signal(self.signal.name, self._predicted, self.signal.slope)

    def _asked(self, genomes: Genomes) -> Floats:
        self.ask(genomes)
        found = np.array([self._known[row.tobytes()] for row in genomes])
        odd = ~np.isfinite(found)  # a network that gives no number is as bad as any
        found[odd] = max((value for value in self._known.values() if np.isfinite(value)), default=0.0)
        return found

    def _predicted(self, genomes: Genomes) -> Floats:
        assert self._model is not None
        return self._model.predict(self.features(genomes))
