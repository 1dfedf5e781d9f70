import pytest

from radiosync.errors import RemoteProtocolError
from radiosync.sim.reading import kind_of, read
from radiosync.wire.codec import decode, encode
from radiosync.wire.messages import Kind, Solicit


def test_the_same_bytes_are_read_once():
    data = encode(Solicit(session=1, nonce=7))
    assert read(data) == decode(data)
    assert read(bytes(bytearray(data))) is read(data)


def test_damaged_bytes_are_refused_each_time():
    data = bytearray(encode(Solicit(session=1, nonce=8)))
    read(bytes(data))
    data[20] ^= 1
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            read(bytes(data))


def test_the_kind_is_told_without_reading():
    data = encode(Solicit(session=1, nonce=7))
    assert kind_of(data) == kind_of(data[:4]) == Kind.SOLICIT
    assert kind_of(data[:3]) is None
