"""A tenth of a second of a sound device's stamps as one: the mean of those that agree with their median."""

from dataclasses import dataclass

from radiosync.clock.line import MAD_TO_SD, SD_NS_MIN, TRIM_SIGMAS


@dataclass(frozen=True, slots=True)
class Bucket:
    """What some stamps agree on."""

    frame: int  # of its middle
    late_ns: float  # mean distance from the nominal line through the origin
    scatter_ns: float  # of single stamps
    count: int


def bucket_of(stamps: list[tuple[int, float]], *, earliest: bool) -> Bucket:
    """Return what `stamps` (frame, distance from the nominal line in ns) agree on, or the earliest of them."""
    if earliest:
        frame, late_ns = min(stamps, key=lambda stamp: stamp[1])
        return Bucket(frame=frame, late_ns=late_ns, scatter_ns=0.0, count=1)
    lates = sorted(late for _, late in stamps)
    middle_ns = lates[len(lates) // 2]
    scatter_ns = MAD_TO_SD * sorted(abs(late - middle_ns) for late in lates)[len(lates) // 2]
    kept = [stamp for stamp in stamps if abs(stamp[1] - middle_ns) <= TRIM_SIGMAS * scatter_ns + SD_NS_MIN]
    return Bucket(
        frame=round(sum(frame for frame, _ in kept) / len(kept)),
        late_ns=sum(late for _, late in kept) / len(kept),
        scatter_ns=scatter_ns,
        count=len(kept),
    )
