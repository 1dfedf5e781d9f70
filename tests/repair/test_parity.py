"""The code is part of the protocol: besides being right it must stay the same."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.repair.parity import MATRIX, block_of, parity_symbols, recover
from radiosync.wire.limits import PARITY_MAX
from radiosync.wire.messages import SYMBOLS_MAX


def times(a, b):
    """Multiply in the field, as one does by hand."""
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(15, 7, -1):
        if product >> bit & 1:
            product ^= 0x11D << (bit - 8)
    return product


def symbols_of(rng, count, symbol_bytes):
    symbols = [rng.randbytes(symbol_bytes) for _ in range(count - 1)]
    return [*symbols, rng.randbytes(rng.randrange(1, symbol_bytes + 1))]


def test_the_coefficients_are_the_inverses_of_sums():
    assert MATRIX.shape == (PARITY_MAX, SYMBOLS_MAX)
    for i in range(PARITY_MAX):
        for j in range(SYMBOLS_MAX):
            assert times(int(MATRIX[i, j]), (192 + i) ^ j) == 1


def test_a_parity_symbol_is_the_sum_of_coefficients_times_bytes():
    rng = Random(1)
    symbols = symbols_of(rng, 11, 7)
    block = block_of(symbols, 7)
    for first, count in ((0, 64), (5, 9), (63, 1)):
        for i, made in enumerate(parity_symbols(block, first, count), first):
            for position in range(7):
                expected = 0
                for j, symbol in enumerate(symbols):
                    if position < len(symbol):
                        expected ^= times(int(MATRIX[i, j]), symbol[position])
                assert made[position] == expected


def test_golden_bytes():
    """What another implementation must get; PROTOCOL.md has them as its example."""
    block = block_of([bytes([1, 2, 3, 4]), bytes([0x10, 0x20, 0x40, 0x80]), bytes([0xFF, 0])], 4)
    made = parity_symbols(block, 0, PARITY_MAX)
    assert [row.hex() for row in (made[0], made[1], made[7], made[8], made[63])] == [
        "3bcbf5d3",
        "9dc81f8c",
        "68f81001",
        "5d326079",
        "ac9cec22",
    ]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), count=st.integers(1, SYMBOLS_MAX), symbol_bytes=st.integers(1, 40), seed=st.integers(0, 999))
def test_any_so_many_parity_symbols_heal_any_so_many_losses(data, count, symbol_bytes, seed):
    rng = Random(seed)
    block = block_of(symbols_of(rng, count, symbol_bytes), symbol_bytes)
    losses = data.draw(st.integers(1, min(count, PARITY_MAX)))
    lost = rng.sample(range(count), losses)
    made = parity_symbols(block, 0, PARITY_MAX)
    parity = {i: made[i] for i in rng.sample(range(PARITY_MAX), rng.randint(losses, PARITY_MAX))}
    damaged = block.copy()
    damaged[lost] = 0
    assert np.array_equal(recover(damaged, lost, parity), block[lost])


@pytest.mark.parametrize("count", [1, 64, 192])
def test_as_many_as_there_are_can_be_healed(count):
    rng = Random(count)
    block = block_of(symbols_of(rng, count, 50), 50)
    lost = list(range(count))[-PARITY_MAX:]
    parity = dict(enumerate(parity_symbols(block, 0, PARITY_MAX)))
    damaged = block.copy()
    damaged[lost] = 0
    assert np.array_equal(recover(damaged, lost, parity), block[lost])


def test_one_loss_more_than_parity_is_not_healed():
    """A test of the test: with a symbol too few the result is something else."""
    block = block_of(symbols_of(Random(3), 20, 50), 50)
    damaged = block.copy()
    damaged[[2, 3]] = 0
    assert not np.array_equal(recover(damaged, [2], {0: parity_symbols(block, 0, 1)[0]}), block[[2]])
