"""Number formats: how the numbers of a tensor are held, and which formats a block computes in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.errors import InvalidInputError

MAX_OF_MINIFLOAT = {(4, 3): 448.0, (5, 2): 57344.0, (3, 2): 28.0, (2, 3): 7.5, (2, 1): 6.0}


@dataclass(frozen=True)
class NumberFormat:
    """Representation of numbers: float32, integers times a scale, or minifloats times a scale.

    Attributes:
        bits: 32 for float32, 4 to 8 for a minifloat, otherwise 2 to 8.
        signed: Whether integers lie around zero. Meaningless for the others.
        asymmetric: Whether integers have a zero point of their own, wherever the values lie.
        exponent_bits: Of a minifloat; 0 for all else.

    Source:
        Minifloats: OCP 8-bit floating point 1.0 (2023) and OCP microscaling formats 1.0 (2023), without their shared scales.
    """

    bits: int
    signed: bool = True
    asymmetric: bool = False
    exponent_bits: int = 0

    def __post_init__(self) -> None:
        if self.exponent_bits:
            if (self.exponent_bits, self.mantissa_bits) not in MAX_OF_MINIFLOAT:
                raise InvalidInputError(
                    f"there is no minifloat of {self.bits} bits with {self.exponent_bits} bits of exponent"
                )
        elif self.bits != 32 and not 2 <= self.bits <= 8:
            raise InvalidInputError(f"bits must be one of 2..8 or 32, got {self.bits}")

    @property
    def is_float32(self) -> bool:
        """True for float32."""
        return self.bits == 32

    @property
    def is_minifloat(self) -> bool:
        """True for a float of at most 8 bits."""
        return self.exponent_bits > 0

    @property
    def is_integer(self) -> bool:
        """True for integers."""
        return not (self.is_float32 or self.is_minifloat)

    @property
    def mantissa_bits(self) -> int:
        """Bits of a minifloat behind its leading one."""
        return self.bits - 1 - self.exponent_bits

    @property
    def qmin(self) -> int:
        """Least integer of a symmetric activation."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Greatest integer of a symmetric activation, and of a weight (whose range is narrow: `-qmax..qmax`)."""
        return (1 << (self.bits - 1)) - 1 if self.signed else self.n_levels - 1

    @property
    def n_levels(self) -> int:
        """Number of integers; an asymmetric activation has those from 0 to one less, its zero point among them."""
        return 1 << self.bits

    @property
    def max_value(self) -> float:
        """Greatest number before the scale: of a minifloat, or `qmax`."""
        return MAX_OF_MINIFLOAT[self.exponent_bits, self.mantissa_bits] if self.is_minifloat else float(self.qmax)

    @property
    def zero_point(self) -> int:
        """The integer of zero in the uint8 container of a symmetric activation."""
        return 128 if self.signed else 0

    @property
    def stored_bytes(self) -> int:
        """Bytes that an activation takes in memory at run time."""
        return 4 if self.is_float32 else 1

    @property
    def name(self) -> str:
        """`float32`, a minifloat's name such as `e4m3`, or `int4`."""
        if self.is_minifloat:
            return f"e{self.exponent_bits}m{self.mantissa_bits}"
        return "float32" if self.is_float32 else f"int{self.bits}"


FLOAT32 = NumberFormat(32)
INT8 = NumberFormat(8)
MINIFLOATS = {f"e{e}m{m}": NumberFormat(1 + e + m, exponent_bits=e) for e, m in MAX_OF_MINIFLOAT}


@dataclass(frozen=True)
class Precision:
    """The number formats that a block computes in.

    Attributes:
        weights: Format of its weights.
        activations: Format of the tensors inside it, of the same kind: float32, integers or a minifloat.
        per_channel: Whether each output channel of a weight has a scale of its own.
    """

    weights: NumberFormat = FLOAT32
    activations: NumberFormat = FLOAT32
    per_channel: bool = True

    @property
    def is_float32(self) -> bool:
        """True if the block computes in float32."""
        return self.weights.is_float32

    @property
    def is_minifloat(self) -> bool:
        """True if the block computes in a minifloat."""
        return self.weights.is_minifloat

    @property
    def is_integer(self) -> bool:
        """True if the block computes in integers."""
        return self.weights.is_integer

    @property
    def is_sub8bit(self) -> bool:
        """True if weights or activations have fewer than 8 bits."""
        return min(self.weights.bits, self.activations.bits) < 8

    @property
    def border(self) -> NumberFormat:
        """Format of the tensors that the block takes and gives: 8-bit integers, or float32."""
        return INT8 if self.is_integer else FLOAT32

    @property
    def name(self) -> str:
        """See `from_name`."""
        if not self.is_integer:
            return self.weights.name
        granularity = "" if self.per_channel else "-tensor"
        symmetry = "-asymmetric" if self.activations.asymmetric else ""
        return f"w{self.weights.bits}a{self.activations.bits}{granularity}{symmetry}"

    @classmethod
    def from_name(cls, name: str) -> "Precision":
        """Return the precision called so.

        Args:
            name: `float32`; `wNaM`, integers of N bits for weights and M for activations, both 2 to 8, with `-tensor` behind
                it for one scale a weight instead of one a channel, and `-asymmetric` for activations with a zero point of
                their own; or a minifloat: `e4m3`, `e5m2`, `e3m2`, `e2m3`, `e2m1`.

        Raises:
            InvalidInputError: If it is none of these.
        """
        if name == "float32":
            return cls()
        if name in MINIFLOATS:
            return cls(MINIFLOATS[name], MINIFLOATS[name])
        match = re.fullmatch(r"w([2-8])a([2-8])(-tensor)?(-asymmetric)?", name)
        if match is None:
            raise InvalidInputError(
                f"a format is 'float32', 'wNaM' with N and M in 2..8, as 'w4a8', with '-tensor' and '-asymmetric' behind it "
                f"if wanted, or one of {', '.join(MINIFLOATS)}; got '{name}'"
            )
        activations = NumberFormat(int(match[2]), asymmetric=match[4] is not None)
        return cls(NumberFormat(int(match[1])), activations, per_channel=match[3] is None)


FLOAT = Precision()
W8A8 = Precision(INT8, INT8)
FORMATS = ("float32", "w8a8", "w4a4")  # what spaces offer unless told otherwise


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of formats in the order that spaces offer them: float32 first, then from many bits to few.

    Raises:
        InvalidInputError: If a name is unknown, stands twice, or there is none.
    """
    if not names or len(set(names)) != len(names):
        raise InvalidInputError(f"formats must be distinct and at least one, got {list(names)}")
    precisions = {name: Precision.from_name(name) for name in names}
    return tuple(sorted(names, key=lambda name: (-precisions[name].weights.bits * precisions[name].activations.bits, name)))
