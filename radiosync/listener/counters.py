"""What a listener counts of a stream."""

from dataclasses import dataclass

from radiosync.listener.slot import Added


@dataclass(slots=True)
class StreamCounters:
    """What has been counted since the stream was found."""

    symbols_received: int = 0
    symbols_lost: int = 0
    """Symbols that had not come when they should have; most of them are repaired later."""
    symbols_repaired: int = 0
    symbols_backfilled: int = 0
    """Symbols that were sent before this listener came, and sent again for it."""
    duplicates: int = 0
    refused: int = 0
    chunks_late: int = 0
    _late_seq: int | None = None

    def note(self, seq: int, added: Added, *, repair: bool, backfill: bool) -> None:
        """Count a symbol of chunk `seq` by what became of it."""
        if added in (Added.NEW, Added.COMPLETED):
            self.symbols_received += 1
            self.symbols_backfilled += repair and backfill
            self.symbols_repaired += repair and not backfill
        elif added is Added.DUPLICATE:
            self.duplicates += 1
        elif added is Added.REFUSED:
            self.refused += 1
        elif seq != self._late_seq:  # of a chunk that comes too late there are many symbols
            self._late_seq = seq
            self.chunks_late += 1
