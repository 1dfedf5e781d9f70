"""Datagrams that many receive are read once.

Decoding is a function of the bytes alone, and messages can't be changed; so who receives the same bytes may be given
the same message.  What comes damaged is other bytes, and is read by itself.
"""

from functools import lru_cache

from radiosync.wire.codec import decode

KIND_AT = 3  # in the common header, see `radiosync.wire.fields`
KNOWN_MAX = 1024  # datagrams: what is under way at a time, or comes again soon

read = lru_cache(maxsize=KNOWN_MAX)(decode)


def kind_of(data: bytes) -> int | None:
    """Return what kind of message a datagram says it is, without reading it; None where it is too short to say."""
    return data[KIND_AT] if len(data) > KIND_AT else None
