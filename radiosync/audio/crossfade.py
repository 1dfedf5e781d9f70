"""Go from one copy of the music to another.

Two decoded copies of the same frames are the same music with different errors.  So their amplitudes, not their powers,
have to add up to one: the later one's weight rises along a raised cosine, the earlier one's falls likewise.
"""

import numpy as np

from radiosync.audio.format import SampleFormat, Samples


def cross_fade(earlier: Samples, later: Samples, sample: SampleFormat) -> Samples:
    """Return equally many frames that begin as `earlier` and end as `later`; no sample lies outside of the two."""
    turn = (np.arange(len(earlier)) + 0.5) / max(1, len(earlier))
    rise = ((1 - np.cos(np.pi * turn)) / 2)[:, np.newaxis]
    if sample is SampleFormat.F32:
        return (earlier + rise * (later.astype(np.float64) - earlier)).astype(np.float32)
    spare = 8 if sample is SampleFormat.S24 else 0  # S24 is left-justified
    low, high = (earlier >> spare).astype(np.float64), (later >> spare).astype(np.float64)
    blended: Samples = np.rint(low + rise * (high - low)).astype(sample.dtype)
    return blended << spare
