"""Settings of an adoption: of a model that a user has trained, and how it becomes a search space with weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nas.data.samples import PRESETS, Pictures
from nas.ptq.calibration import CALIBRATORS
from nas.ptq.repair.rounding import ROUNDINGS
from nas.ptq.sensitivity import SENSITIVITIES
from nas.tasks.divergence import KINDS
from search_spaces.errors import InvalidInputError, check_range

AUTO = "auto"
FLOORS = ("divergence", "error_drop")


@dataclass(frozen=True, kw_only=True)
class AdoptSettings:
    """A trained model and what is made of it; `hwnas adopt` writes these."""

    model: str = ""
    """The model: an ONNX file, a `.pt2` of torch.export, or FILE.py:FUNCTION that gives a torch module and its inputs.
    Empty: the networks of the experiment are trained."""
    samples: str = ""
    """What it takes: `.npz` by name of the input, perhaps with `labels`; FILE.py:FUNCTION; or a folder of pictures."""
    shapes: dict[str, list[int]] = field(default_factory=dict)
    """Shapes of inputs that the model leaves open, with the batch axis, as `{x: [1, 3, 224, 224]}`."""
    pictures: Pictures = field(default_factory=Pictures)
    """How pictures become what the model takes."""
    formats: dict[str, list[str]] = field(default_factory=dict)
    """Formats of single groups by a pattern of their names, as `{"_blocks.0": [float32]}`."""
    max_layers: int = 4
    """Layers with weights that share one format, at most; more make fewer groups."""
    calibrator: str = AUTO
    """How scales of activations are chosen: minmax, mse, percentile; auto: the one that loses least."""
    rounding: str = AUTO
    """How weights below 8 bits are rounded: output_error, nearest; auto: the one that loses less."""
    bias_correction: bool = True
    """Whether biases make up for what integers shift in the mean, in the formats that lose less by it."""
    sensitivity: str = "measured"
    """What predicts the divergence of mixtures: measured, one group at a time beside float32; averaged, one group at a time
    beside each format, which takes as many times the networks and ranks better; mixtures, by as many
    random mixtures, which is best of many groups; fisher, from gradients of the outputs, which needs torch, and gradients of
    all that follows a group."""
    choose: Literal["sums", "programming", "strategy"] = "sums"
    """What is measured: sums, members of exact fronts of what sensitivities predict; programming, what integer programming
    finds within the limits, where these leave few of the fronts; strategy, what `search.strategy` says, whose predictors
    see the predictions."""
    floor: dict[str, float] = field(default_factory=dict)
    """The fastest mixture whose `divergence`, or `error_drop` in points where there are labels, is at most this: found by
    bisection of the predicted front."""
    outputs: dict[str, float] = field(default_factory=dict)
    """Weights of outputs in the divergence; none: all alike."""
    kinds: dict[str, str] = field(default_factory=dict)
    """How outputs are compared, where their values mislead: kl (classes), cosine (embeddings), noise (all else)."""
    steer: Literal["mean", "worst"] = "mean"
    """Of several outputs: their mean, which adds up better, or the worst."""
    accept_opaque: bool = False
    """Go on although less than half of the multiply-accumulates are in operators that are known."""

    def __post_init__(self) -> None:
        check_range("max_layers", self.max_layers, 1, 10_000)
        if self.rounding != AUTO:
            ROUNDINGS.get(self.rounding)
        SENSITIVITIES.get(self.sensitivity)
        if unknown := sorted(set(self.floor) - set(FLOORS)):
            raise InvalidInputError(f"floor is on {' or '.join(FLOORS)}, got {unknown}")
        if wrong := {name: value for name, value in self.floor.items() if not 0 <= value < float("inf")}:
            raise InvalidInputError(f"floor must be 0 or more, got {wrong}")
        if unknown := sorted(set(self.kinds.values()) - set(KINDS)):
            raise InvalidInputError(f"kinds are {', '.join(KINDS)}, got {unknown}")
        if self.calibrator != AUTO:
            CALIBRATORS.get(self.calibrator)
        if wrong := {name: weight for name, weight in self.outputs.items() if not weight >= 0}:
            raise InvalidInputError(f"outputs must have weights of 0 or more, got {wrong}")
        if self.outputs and not any(self.outputs.values()):
            raise InvalidInputError("outputs must have a weight above 0 for one of them at least")
        if self.pictures.layout not in ("rgb", "bgr"):
            raise InvalidInputError(f"pictures.layout must be rgb or bgr, got '{self.pictures.layout}'")
        if bad := [name for name, shape in self.shapes.items() if not shape or min(shape) < 1]:
            raise InvalidInputError(f"shapes must hold lengths of 1 and more, with the batch axis; got {bad}")

    @property
    def is_set(self) -> bool:
        """True if there is a model."""
        return bool(self.model)

    @property
    def shape_of(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes by input."""
        return {name: tuple(shape) for name, shape in self.shapes.items()}


def preset(name: str) -> Pictures:
    """Return how pictures of a known kind are turned into numbers.

    Raises:
        InvalidInputError: If it is not known.
    """
    if name not in PRESETS:
        raise InvalidInputError(f"there is no preset '{name}'; known: {', '.join(PRESETS)}")
    return PRESETS[name]
