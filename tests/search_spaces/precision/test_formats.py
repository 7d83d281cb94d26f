import pytest

from search_spaces import InvalidInputError, NumberFormat, QuantScheme
from search_spaces.precision.formats import MINIFLOATS
from search_spaces.precision.scheme import check_formats

INTEGERS = [
    f"w{w}a{a}{g}{s}" for w in range(2, 9) for a in range(2, 9) for g in ("", "-tensor") for s in ("", "-asymmetric")
]


@pytest.mark.parametrize("name", ["float32", *MINIFLOATS, *INTEGERS])
def test_names_come_back(name):
    precision = QuantScheme.from_name(name)
    assert precision.name == name
    assert [precision.is_float32, precision.is_minifloat, precision.is_static].count(True) == 1
    assert precision.border.name == ("int8" if precision.is_static else "float32")


@pytest.mark.parametrize("bits", range(2, 9))
def test_ranges_of_integers(bits):
    signed, unsigned = NumberFormat(bits), NumberFormat(bits, signed=False)
    assert (signed.qmin, signed.qmax, signed.zero_point) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 128)
    assert (unsigned.qmin, unsigned.qmax, unsigned.zero_point) == (0, 2**bits - 1, 0)
    assert NumberFormat(bits, asymmetric=True).n_levels == 2**bits


@pytest.mark.parametrize("name", ["w1a8", "w9a8", "w4", "float16", "e4m4", "w4a4-asymmetric-tensor", "W4A4", "", "w4a4 "])
def test_other_names_are_refused(name):
    with pytest.raises(InvalidInputError, match=f"a format is 'float32', 'wNaM' .* one of e4m3, .*; got '{name}'"):
        QuantScheme.from_name(name)


def test_other_numbers_of_bits_are_refused():
    with pytest.raises(InvalidInputError, match=r"bits must be one of 2..8 or 32, got 9"):
        NumberFormat(9)
    with pytest.raises(InvalidInputError, match="no minifloat of 8 bits with 3 bits of exponent"):
        NumberFormat(8, exponent_bits=3)


def test_spaces_offer_many_bits_first():
    assert check_formats(["w2a2", "e4m3", "w4a8", "float32", "w8a8"]) == ("float32", "e4m3", "w8a8", "w4a8", "w2a2")
    for names in ([], ["w8a8", "w8a8"]):
        with pytest.raises(InvalidInputError, match="formats must be distinct and at least one"):
            check_formats(names)
