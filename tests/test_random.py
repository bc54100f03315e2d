"""The random stream: Philox against its published vectors, and what is drawn from it."""

import numpy as np
import pytest

from tinynn import random
from tinynn.philox import philox, random_bits
from tinynn.random import PIECE, Generator, Stream, set_seed, substream

# kat_vectors of Random123, philox4x32-10: counter, key, result.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


EXPECTED_BITS = [3056573305, 1443565229]
EXPECTED_NORMAL = [0.36503642712332357, -0.03461413193696526]


@pytest.fixture(autouse=True)
def _seed_is_put_back(monkeypatch):
    monkeypatch.setattr(random, "_seed", random._seed)
    monkeypatch.setattr(random, "_streams", random._streams)


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_philox_gives_the_published_vectors(counter, key, expected):
    words = philox(tuple(np.array([c], np.uint64) for c in counter), key)
    assert tuple(int(w[0]) for w in words) == expected


def test_random_bits_are_the_blocks_of_their_counters():
    bits = random_bits(7, (0x0A4093822, 0x299F31D0), 5, 6, 7)
    assert bits.dtype == np.uint32
    for e, word in enumerate(bits):
        block = philox(tuple(np.array([c], np.uint64) for c in (e // 4, 5, 6, 7)), (0x0A4093822, 0x299F31D0))
        assert int(block[e % 4][0]) == word


def test_a_part_of_a_draw_can_be_computed_alone():
    whole = random_bits(200_001, (1, 2), 3, 4)
    np.testing.assert_array_equal(whole[100_000:100_011], random_bits(11, (1, 2), 3, 4, first_block=25_000))


def test_numbers_of_a_seed_stay_what_they_are():
    """A change of these numbers changes every published result."""
    g = Generator((1, 0), substream("dense/kernel"))
    np.testing.assert_array_equal(g.bits(2), EXPECTED_BITS)
    np.testing.assert_allclose(g.normal((2,)), EXPECTED_NORMAL, rtol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 5, PIECE, PIECE + 3])
@pytest.mark.parametrize("kind", ["normal", "uniform", "truncated_normal"])
def test_float32_draws_are_the_float64_draws_rounded(n, kind):
    wide, narrow = (Generator((3, 1), 9, dtype=dtype) for dtype in ("float64", "float32"))
    for _ in range(2):
        x, y = getattr(wide, kind)((n,), 0.5, 2.0), getattr(narrow, kind)((n,), 0.5, 2.0)
        assert x.dtype == np.float64
        assert y.dtype == np.float32
        np.testing.assert_array_equal(x.astype(np.float32), y)


def test_a_long_draw_begins_with_the_short_one():
    short, long = Generator((3, 1), 9).normal((10,)), Generator((3, 1), 9).normal((3 * PIECE,))
    np.testing.assert_array_equal(short, long[:10])
    assert np.unique(long).size == long.size, "pieces must not repeat each other"


def test_moments():
    g, n = Generator((0, 0), 0), 200_000
    u = g.uniform((n,), -1, 3)
    assert u.min() >= -1
    assert u.max() < 3
    assert abs(u.mean() - 1) < 5 * (4 / 12**0.5) / n**0.5
    z = g.normal((n,), 2.0, 3.0)
    assert abs(z.mean() - 2) < 5 * 3 / n**0.5
    assert abs(z.std() / 3 - 1) < 5 / (2 * n) ** 0.5
    assert abs(((z - 2) / 3) ** 4).mean() == pytest.approx(3, abs=0.1)
    assert abs(np.corrcoef(z[0::2], z[1::2])[0, 1]) < 5 / (n / 2) ** 0.5
    t = g.truncated_normal((n,), 2.0, 3.0)
    assert np.abs(t - 2).max() <= 6
    assert t.std() / 3 == pytest.approx(0.87962566, abs=0.01)


def test_permutation_is_uniform():
    g = Generator((0, 0), 0)
    assert sorted(g.permutation(1000)) == list(range(1000))
    assert g.permutation(0).shape == (0,)
    counts = np.zeros((4, 4))
    for _ in range(2000):
        counts[np.arange(4), g.permutation(4)] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 40, "9 degrees of freedom: 40 has probability 1e-5"


def test_the_kth_stream_after_set_seed():
    set_seed(5)
    first, second = Stream(), Stream()
    assert (first.key, second.key) == ((5, 0), (5, 1))
    set_seed(5)
    assert Stream().key == first.key
    a, b = (s.generator("x").bits(4) for s in (first, second))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(a, Stream(5, 0).generator("x").bits(4))


def test_substreams_steps_and_calls_differ():
    s = Stream(1, 0)
    draws = [s.generator("a").bits(4), s.generator("b").bits(4), s.generator("a", 1).bits(4)]
    g = s.generator("a")
    g.bits(4)
    draws.append(g.bits(4))
    assert len({d.tobytes() for d in draws}) == 4
    s.advance()
    assert s.step[0] == 1


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), (2**32, ValueError), (1.5, TypeError), (True, TypeError), ("1", TypeError)]
)
def test_seeds_out_of_range_are_refused(seed, error):
    with pytest.raises(error, match="set_seed expects"):
        set_seed(seed)
