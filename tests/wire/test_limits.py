"""What a symbol may be at most: one more is refused, although it is whole and fits its chunk."""

import pytest

from radiosync.errors import RemoteProtocolError
from radiosync.timeline import PlayState, Timeline
from radiosync.wire.codec import SYMBOL_BYTES_MAX, decode, encode
from radiosync.wire.limits import PARITY_MAX
from radiosync.wire.messages import Audio, ChunkHeader


def symbol(symbol_bytes, symbols, index, payload_bytes):
    timeline = Timeline(version=1, epoch=1, state=PlayState.PLAYING, media_frame=0, effective_at=0)
    plain = dict.fromkeys(ChunkHeader.__slots__, 1)
    header = ChunkHeader(
        **plain | {"coded_bytes": symbols * 100, "symbol_bytes": symbol_bytes, "symbols": symbols, "tier": 0}
    )
    return encode(
        Audio(session=7, timeline=timeline, chunk=header, index=index, repair=False, payload=bytes(payload_bytes))
    )


def test_a_parity_symbol_beyond_the_last_is_refused():
    last = symbol(100, 3, 3 + PARITY_MAX - 1, 100)
    assert decode(last).index == 3 + PARITY_MAX - 1
    with pytest.raises(RemoteProtocolError):
        decode(symbol(100, 3, 3 + PARITY_MAX, 100))


def test_symbols_that_no_datagram_holds_are_refused():
    assert decode(symbol(SYMBOL_BYTES_MAX, 1, 0, 100)).chunk.symbol_bytes == SYMBOL_BYTES_MAX
    with pytest.raises(RemoteProtocolError):
        decode(symbol(SYMBOL_BYTES_MAX + 1, 1, 0, 100))
