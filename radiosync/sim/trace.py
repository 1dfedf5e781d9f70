"""The trace: what happened, in order, as one hash.

Two runs are the same run if their hashes are equal.  Everything that leaves a node or enters one goes in: datagrams
delivered, events of the sessions, frames emitted.
"""

from hashlib import blake2b

from radiosync.sim.scheduler import TrueNs

UNHASHED_MAX = 256  # pieces: of many at a time the hash is cheaper


class Trace:
    """Hashes what it is told; with `keep`, keeps the lines for somebody to read."""

    def __init__(self, *, keep: bool = False) -> None:
        self._hash = blake2b(digest_size=16)
        self._unhashed: list[bytes] = []
        self.lines: list[str] | None = [] if keep else None
        self.events = 0

    def note(self, at: TrueNs, what: str, data: bytes = b"") -> None:
        """Add that `what` happened at `at`, with `data`."""
        self.events += 1
        unhashed = self._unhashed
        unhashed += (f"{at} {what} {len(data)}\n".encode(), data)
        if len(unhashed) >= UNHASHED_MAX:
            self._hash_all()
        if self.lines is not None:
            self.lines.append(f"{at / 1e9:14.9f} {what}" + (f" ({len(data)} bytes)" if data else ""))

    def digest(self) -> str:
        """Return the hash of everything noted so far, as hexadecimal digits."""
        self._hash_all()
        return self._hash.hexdigest()

    def _hash_all(self) -> None:
        self._hash.update(b"".join(self._unhashed))
        self._unhashed.clear()
