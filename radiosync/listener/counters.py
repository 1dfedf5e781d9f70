"""What a listener counts of a stream."""

from dataclasses import dataclass


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
