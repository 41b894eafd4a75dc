"""Columns: every bit back, numbers of the encodings, bytes that are no column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from frameworm.experiment.storage.codec import CodecError, Encoding, checksum, decode, encode, is_float32

LENGTHS = st.integers(0, 300)
SPECIAL = np.array(
    [
        0x7FF8_0000_0000_0000,  # NaN
        0x7FF8_0000_DEAD_BEEF,  # NaN with a payload
        0x7FF0_0000_0000_0001,  # signalling NaN
        0xFFF8_0000_0000_0001,  # negative NaN
        0x7FF0_0000_0000_0000,  # inf
        0xFFF0_0000_0000_0000,  # -inf
        0x8000_0000_0000_0000,  # -0.0
        0x0000_0000_0000_0000,
        0x0000_0000_0000_0001,  # denormals
        0x800F_FFFF_FFFF_FFFF,
        0x7FEF_FFFF_FFFF_FFFF,  # largest
        0x3FF0_0000_0000_0000,  # 1.0
    ],
    np.uint64,
).view(np.float64)


def round_trip(column: np.ndarray) -> Encoding:
    encoding, data = encode(column)
    out = np.empty_like(column)
    decode(encoding, data, out)
    assert out.tobytes() == column.tobytes()
    assert len(data) <= column.nbytes
    return encoding


@given(st.sampled_from([np.int64, np.int32, np.uint32]).flatmap(lambda t: hnp.arrays(t, LENGTHS)))
def test_integers_come_back(column):
    round_trip(column)


@given(hnp.arrays(np.uint64, LENGTHS))
def test_any_float_bits_come_back(bits):
    round_trip(bits.view(np.float64))


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 3000), st.sampled_from([0.001, 0.1, 1.0]), st.integers(0, 3))
def test_special_values_among_common_ones_come_back(seed, n, share, kind):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=n)
    column = [noise, noise.astype(np.float32).astype(np.float64), np.round(noise, 2), np.arange(n) * 0.5][kind]
    special = rng.random(n) < share
    column[special] = rng.choice(SPECIAL, int(special.sum()))
    round_trip(column)


@pytest.mark.parametrize(
    ("column", "encoding"),
    [
        (np.empty(0), Encoding.RAW),
        (np.array([1.5, 2.5]), Encoding.RAW),
        (np.random.default_rng(0).integers(0, 2**64 - 1, 500, np.uint64).view(np.int64), Encoding.RAW),
        (np.arange(1000), Encoding.PCO),
        (np.linspace(0, 1, 1000), Encoding.PCO),
        (np.linspace(0, 1, 1000, dtype=np.float32).astype(np.float64), Encoding.PCO_FLOAT32),
        (np.full(7, 0.1), Encoding.CONSTANT),
        (np.full(65_536, -(2**31), np.int32), Encoding.CONSTANT),
        (np.full(9, np.nan), Encoding.CONSTANT),
        (np.array([0.0, -0.0, 0.0]), Encoding.RAW),  # equal numbers, but not equal bits
        (np.array([5], np.uint32), Encoding.CONSTANT),
    ],
)
def test_the_encoding_follows_the_pattern(column, encoding):
    assert round_trip(column) is encoding


def test_numbers_of_encodings_are_fixed_for_ever():
    assert {e.name: e.value for e in Encoding} == {"RAW": 0, "PCO": 1, "PCO_FLOAT32": 2, "CONSTANT": 3}


def test_the_checksum_is_crc32():
    assert checksum(b"123456789") == 0xCBF43926


def test_float32_is_recognised_bit_for_bit():
    assert is_float32(SPECIAL).tolist() == [
        True, False, False, False, True, True, True, True, False, False, False, True,
    ]  # fmt: skip
    assert is_float32(np.array([0.1, np.float64(np.float32(0.1)), 1e300, 2.0**-149])).tolist() == [
        False, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("column", [np.zeros((2, 2)), np.zeros(2, np.float32), np.zeros(2, np.int16)])
def test_other_arrays_are_refused(column):
    with pytest.raises(TypeError, match="a column is 1-d int64, int32, uint32 or float64, not"):
        encode(column)


NOISE = np.random.default_rng(1).normal(size=1000)
PCO = encode(NOISE)[1]


@pytest.mark.parametrize(
    ("encoding", "data", "out", "message"),
    [
        (
            4,
            b"",
            np.empty(3),
            "encoding 4 of a float64 column is unknown; known are 0 RAW, 1 PCO, 2 PCO_FLOAT32, 3 CON",
        ),
        (2, PCO, np.empty(1000, np.int64), "encoding 2 of a int64 column is unknown"),
        (0, b"12345678", np.empty(3), "8 bytes, expected 24"),
        (3, b"1234", np.empty(3), "4 bytes, expected 8"),
        (3, b"", np.empty(3, np.int32), "0 bytes, expected 4"),
        (1, b"", np.empty(3), "pcodec refuses it: "),
        (1, b"pco?", np.empty(3), "pcodec refuses it: "),
        (1, PCO, np.empty(1001), "pcodec finds 1000 numbers, expected 1001"),
        (1, PCO, np.empty(999), "pcodec finds 999 numbers and more, expected 999"),
        (1, PCO, np.empty(1000, np.int64), "pcodec refuses it: "),
        (1, PCO[:-9], np.empty(1000), "pcodec refuses it: "),
        (2, PCO, np.empty(1000), "pcodec refuses it: "),
    ],
)
def test_bytes_that_are_no_such_column(encoding, data, out, message):
    with pytest.raises(CodecError) as caught:
        decode(encoding, data, out)
    assert message in str(caught.value)


@settings(max_examples=300)
@given(st.sampled_from([1, 2]), st.integers(0, len(PCO) - 1), st.integers(0, 255), st.integers(0, len(PCO)))
def test_damaged_pcodec_bytes_give_numbers_or_a_codec_error(encoding, at, byte, length):
    """The checksum catches these first; a decoder that crashed or hung on them would still be a hole."""
    data = bytearray(PCO)
    data[at] = byte
    out = np.empty(1000)
    try:
        decode(encoding, bytes(data[:length]), out)
    except CodecError as error:
        assert "pcodec" in str(error)
    else:
        assert encoding == Encoding.PCO
