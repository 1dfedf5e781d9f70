"""What the statistics tell of a stream."""

from typing import Any

from radiosync.listener.stream import Stream
from radiosync.units import NS_PER_S, LocalNs, ns_from_frames


def stream_stats(stream: Stream, now: LocalNs) -> dict[str, Any]:
    """Return it by name, as --stats-json writes it."""
    mapping, playout, counters = stream.clock.mapping(), stream.playout, stream.counters
    asked = stream.poller.counters
    values: dict[str, Any] = {
        "session": f"{stream.session:016x}",
        "host": stream.host_ip,
        "clock": stream.clock.quality(now).name.lower(),
        "offset_ns": mapping.offset_ns if mapping else None,
        "offset_bound_ns": round(mapping.bound_ns_at(now)) if mapping else None,
        "offset_sigma_ns": round(mapping.sigma_ns_at(now)) if mapping else None,
        "skew_ppm": round(mapping.skew * 1e6, 3) if mapping else None,
        "rtt_ns": stream.rtt_ns,
        "tier": stream.quality.tier,
        "tier_changes": stream.quality.changes,
        "sync_delay_ns": stream.sync.delay_ns if stream.sync is not None else None,
        "clock_replies": asked.replies,
        "clock_rejected": asked.bogus + asked.duplicates + asked.unknown,
        "buffer_s": round(stream.buffered_ns(now) / NS_PER_S, 3),
        "symbols_received": counters.symbols_received,
        "symbols_lost": counters.symbols_lost,
        "symbols_repaired": counters.symbols_repaired,
        "symbols_backfilled": counters.symbols_backfilled,
        "duplicates": counters.duplicates,
        "refused": counters.refused,
        "nacks_sent": stream.requests.nacks,
        "repairs_given_up": stream.requests.given_up,
        "chunks_late": counters.chunks_late,
        "chunks_concealed": stream.chunks_concealed,
        "chunks_broken": stream.buffer.broken,
        "mutes": stream.mute.count,
    }
    if playout is not None:
        values.update(
            position_s=ns_from_frames(playout.cursor, stream.format.rate) / NS_PER_S
            if playout.cursor is not None
            else None,
            sync_error_ns=round(playout.sync_error_ns),
            rate_ppm=round(playout.correction * 1e6, 3),
            frames_concealed=playout.concealed_frames,
            underruns=playout.underruns,
            hard_resyncs=playout.hard_resyncs,
        )
    return values
