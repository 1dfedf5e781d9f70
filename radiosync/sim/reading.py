"""Datagrams that many receive are read once.

Decoding is a function of the bytes alone, and messages can't be changed; so who receives the same bytes may be given
the same message.  What comes damaged is other bytes, and is read by itself.
"""

from functools import lru_cache

from radiosync.wire.codec import decode

KNOWN_MAX = 1024  # datagrams: what is under way at a time, or comes again soon

read = lru_cache(maxsize=KNOWN_MAX)(decode)
