import pytest

from radiosync.errors import RemoteProtocolError
from radiosync.sim.reading import read
from radiosync.wire.codec import decode, encode
from radiosync.wire.messages import Solicit


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
