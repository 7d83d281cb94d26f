"""Number formats: how the numbers of a tensor are held."""

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
        """Greatest integer of a symmetric activation, and of a weight: `-qmax..qmax`, in groups `-qmax - 1..qmax`."""
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
