from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from radiosync.repair.symbols import Assembly, Chunk, split
from radiosync.wire.limits import PARITY_MAX
from radiosync.wire.messages import ChunkHeader


def header(coded_bytes, symbol_bytes):
    return ChunkHeader(
        seq=7,
        epoch=1,
        first_frame=1000,
        frames=480,
        play_at=0,
        song_id=1,
        song_frame=0,
        buffer_position_ms=0,
        stamped_at=0,
        codec=1,
        coded_bytes=coded_bytes,
        symbol_bytes=symbol_bytes,
        symbols=-(-coded_bytes // symbol_bytes),
    )


@given(coded=st.binary(min_size=1, max_size=500), symbol_bytes=st.integers(1, 90), seed=st.integers(0, 99))
def test_symbols_in_any_order_and_number_make_the_chunk(coded, symbol_bytes, seed):
    symbols = split(coded, symbol_bytes)
    assert all(len(s) == symbol_bytes for s in symbols[:-1])
    assert b"".join(symbols) == coded
    assembly = Assembly(7, header(len(coded), symbol_bytes))
    order = list(range(len(symbols))) * 2
    Random(seed).shuffle(order)
    have = set()
    for index in order:
        assert assembly.complete == (len(have) == len(symbols))
        assert assembly.missing == sum(1 << i for i in range(len(symbols)) if i not in have)
        assert assembly.add(index, symbols[index]) == (index not in have)
        have.add(index)
    assert assembly.complete
    assert assembly.missing == 0
    assert assembly.coded() == coded


@given(coded=st.binary(min_size=1, max_size=900), symbol_bytes=st.integers(4, 90), seed=st.integers(0, 9999))
def test_so_many_symbols_of_any_kind_make_the_chunk(coded, symbol_bytes, seed):
    rng = Random(seed)
    symbols = split(coded, symbol_bytes)
    count = len(symbols)
    if count > 192:
        return
    chunk = Chunk(header=header(len(coded), symbol_bytes), symbols=symbols)
    assembly = Assembly(7, chunk.header)
    have = set()
    for taken, index in enumerate(rng.sample(range(count + PARITY_MAX), count), 1):
        assert not assembly.complete
        assert assembly.add(index, chunk.symbol(index))
        assert not assembly.add(index, chunk.symbol(index)), "twice is once"
        have.add(index)
        assert assembly.missing.bit_count() == count - taken, "each heals one loss"
        assert taken == count or not any(assembly.missing >> index & 1 for index in have), "of those that are absent"
    assert assembly.complete
    assert assembly.coded() == coded
    spare = next(index for index in range(count + PARITY_MAX) if index not in have)
    assert not assembly.add(spare, chunk.symbol(spare))
    assert assembly.coded() == coded


def test_a_chunk_of_which_there_is_nothing_but_parity():
    coded = Random(1).randbytes(64 * 30 - 7)
    chunk = Chunk(header=header(len(coded), 30), symbols=split(coded, 30))
    assembly = Assembly(7, chunk.header)
    for index in range(64, 128):
        assert assembly.add(index, chunk.symbol(index))
    assert assembly.coded() == coded


def test_parity_beyond_the_last_is_refused():
    assembly = Assembly(7, header(20, 10))
    assert not assembly.add(2 + PARITY_MAX, bytes(10))
    assert assembly.missing == 0b11


def test_a_header_that_contradicts_the_first_is_refused():
    ours = header(20, 10)
    assembly = Assembly(7, ours)
    assert assembly.accepts(replace(ours, stamped_at=5, buffer_position_ms=9))
    for other in (
        replace(ours, first_frame=1001),
        replace(ours, frames=481),
        replace(ours, coded_bytes=19),
        replace(ours, symbol_bytes=11),
        replace(ours, codec=2),
    ):
        assert not assembly.accepts(other)
