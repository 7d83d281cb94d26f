"""QuantScheme: how a block computes. How weights are held, how activations are, what crosses the border: five answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.errors import InvalidInputError
from search_spaces.precision.formats import FLOAT32, INT8, MINIFLOATS, NumberFormat
from search_spaces.precision.granularity import Granularity, PerAxis, PerGroup, PerTensor

GROUPS = (16, 32, 64, 128)
BITS_OF_GROUPS = (2, 4, 8)  # that kernels unpack

WAYS = (
    "a format is 'float32', 'wNaM' with N and M in 2..8, as 'w4a8', with '-tensor' and '-asymmetric' behind it if wanted; "
    "'wNa8d-gG' or 'w4a32-gG' with N in 2, 4, 8 and groups of G in 16, 32, 64, 128, as 'w4a8d-g32'; or one of "
    f"{', '.join(MINIFLOATS)}"
)


@dataclass(frozen=True)
class QuantScheme:
    """How a block computes.

    Attributes:
        weights: Format of its weights.
        activations: Format of what its layers with weights take; float32 where weights alone are held in few bits.
        granularity: Which elements of a weight share a scale.
        is_dynamic: Whether activations are rounded at run time, with a scale for each row and group of their own.
    """

    weights: NumberFormat = FLOAT32
    activations: NumberFormat = FLOAT32
    granularity: Granularity = PerAxis()  # noqa: RUF009 - frozen
    is_dynamic: bool = False

    @property
    def is_float32(self) -> bool:
        """True if the block computes in float32 and its weights are float32."""
        return self.weights.is_float32

    @property
    def is_minifloat(self) -> bool:
        """True if the block computes in a minifloat."""
        return self.weights.is_minifloat

    @property
    def is_grouped(self) -> bool:
        """True if weights are integers with a scale a group, which a layer unpacks itself: nothing is quantized before."""
        return isinstance(self.granularity, PerGroup)

    @property
    def is_static(self) -> bool:
        """True if tensors are integers whose scales are known before it runs, so that integer kernels join."""
        return self.weights.is_integer and not self.is_grouped

    @property
    def is_sub8bit(self) -> bool:
        """True if weights or activations have fewer than 8 bits."""
        return min(self.weights.bits, self.activations.bits) < 8

    @property
    def per_channel(self) -> bool:
        """True if each output channel of a weight has a scale of its own."""
        return isinstance(self.granularity, PerAxis)

    @property
    def group(self) -> int:
        """Length of a group of weights, 0 without groups."""
        return self.granularity.size if isinstance(self.granularity, PerGroup) else 0

    @property
    def border(self) -> NumberFormat:
        """Format of the tensors that the block takes and gives: 8-bit integers, or float32."""
        return INT8 if self.is_static else FLOAT32

    @property
    def price_class(self) -> str:
        """What decides the price of a transition to or from the block: `float32` or `int8`, its border."""
        return "int8" if self.is_static else "float32"

    def n_scales(self, shape: Sequence[int]) -> int:
        """Return the number of scales of a weight of shape `(out, ...)`."""
        if not self.weights.is_integer and not self.is_minifloat:
            return 0
        if isinstance(self.granularity, PerGroup):
            return shape[0] * (shape[1] // self.granularity.size)
        return shape[0] if self.per_channel else 1

    @property
    def name(self) -> str:
        """See `from_name`."""
        if not self.weights.is_integer:
            return self.weights.name
        if isinstance(self.granularity, PerGroup):
            return f"w{self.weights.bits}a{self.activations.bits}{'d' if self.is_dynamic else ''}-g{self.granularity.size}"
        granularity = "" if self.per_channel else "-tensor"
        symmetry = "-asymmetric" if self.activations.asymmetric else ""
        return f"w{self.weights.bits}a{self.activations.bits}{granularity}{symmetry}"

    @classmethod
    def from_name(cls, name: str) -> "QuantScheme":
        """Return the scheme called so.

        Args:
            name: `float32`; `wNaM`, integers of N bits for weights and M for activations, both 2 to 8, with `-tensor` behind
                it for one scale a weight instead of one a channel, and `-asymmetric` for activations with a zero point of
                their own; `wNa8d-gG`, weights of N bits (2, 4, 8) with a scale for each G elements of a row and activations
                rounded to 8 bits at run time, likewise; `w4a32-gG`, such weights alone; or a minifloat: `e4m3`, `e5m2`,
                `e3m2`, `e2m3`, `e2m1`.

        Raises:
            InvalidInputError: If it is none of these.
        """
        if name == "float32":
            return cls()
        if name in MINIFLOATS:
            return cls(MINIFLOATS[name], MINIFLOATS[name])
        if match := re.fullmatch(r"w([2-8])a([2-8])(-tensor)?(-asymmetric)?", name):
            activations = NumberFormat(int(match[2]), asymmetric=match[4] is not None)
            return cls(NumberFormat(int(match[1])), activations, PerTensor() if match[3] else PerAxis())
        if match := re.fullmatch(r"w([2-8])a(8d|32)-g(\d+)", name):
            return cls._grouped(name, int(match[1]), int(match[3]), is_dynamic=match[2] == "8d")
        if re.fullmatch(r"w([2-8])a(8d|32)", name):
            raise InvalidInputError(
                f"'{name}' would have one scale for all tokens of a call, so that later ones change earlier ones; name a "
                f"group, as '{name}-g32'"
            )
        raise InvalidInputError(f"{WAYS}; got '{name}'")

    @classmethod
    def _grouped(cls, name: str, bits: int, group: int, *, is_dynamic: bool) -> "QuantScheme":
        if bits not in BITS_OF_GROUPS or group not in GROUPS:
            raise InvalidInputError(
                f"weights in groups have 2, 4 or 8 bits in groups of {', '.join(map(str, GROUPS))}, got '{name}'"
            )
        if not is_dynamic and bits != 4:
            raise InvalidInputError(
                f"'{name}' unpacks the whole weight at every call, many times slower than float32; use "
                f"'w{bits}a8d-g{group}' or 'w4a32-g{group}'"
            )
        if bits == 2 and is_dynamic and group not in (32, 64, 128):
            raise InvalidInputError(f"2 bits have kernels in groups of 32, 64 and 128, got '{name}'")
        return cls(NumberFormat(bits), INT8 if is_dynamic else FLOAT32, PerGroup(group), is_dynamic)


FLOAT = QuantScheme()
W8A8 = QuantScheme(INT8, INT8)
FORMATS = ("float32", "w8a8", "w4a4")  # what spaces offer unless told otherwise


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of formats in the order that spaces offer them: float32 first, then from many bits to few.

    Raises:
        InvalidInputError: If a name is unknown, stands twice, or there is none.
    """
    if not names or len(set(names)) != len(names):
        raise InvalidInputError(f"formats must be distinct and at least one, got {list(names)}")
    schemes = {name: QuantScheme.from_name(name) for name in names}
    return tuple(sorted(names, key=lambda name: (-schemes[name].weights.bits * schemes[name].activations.bits, name)))
