#!/usr/bin/env python3
"""Write the golden datagrams of the tests: one per message kind, as hex.

They fix the wire format: what they say must never change without a new protocol version.  So existing files stay as
they are unless --force is given.

    .venv/bin/python tools/make_golden.py [--force] [FOLDER]
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.timeline import PlayState, Timeline
from radiosync.units import HostNs, MediaFrame
from radiosync.wire.codec import encode
from radiosync.wire.messages import (
    Announce,
    Audio,
    Bye,
    ByeReason,
    ChunkHeader,
    Leave,
    ListenerState,
    Message,
    Nack,
    NackEntry,
    Report,
    Solicit,
    Solo,
    SoloEntry,
    SongInfo,
    Sync,
    SyncPhase,
    TierOffer,
)

FOLDER = Path(__file__).parents[1] / "tests" / "wire" / "golden"
SESSION = 0x1122_3344_5566_7788
COOKIE = 0xC00C_1E5A_6B7C_8D9E
LISTENER = 0x0A0B_0C0D_0E0F_1011
NONCE = 0x5EED_0123_4567_89AB
STARTED_AT = 1_795_000_000_123_456_789  # 2026-11-18, in ns since the Unix epoch

TIMELINE = Timeline(
    version=3,
    epoch=2,
    state=PlayState.PLAYING,
    media_frame=MediaFrame(0x0102_0304),
    effective_at=HostNs(STARTED_AT),
)
FRAME = MediaFrame(TIMELINE.media_frame + 22_050 * 7)

AUDIO = Audio(
    session=SESSION,
    timeline=TIMELINE,
    chunk=ChunkHeader(
        seq=0x0000_0107,
        epoch=2,
        first_frame=FRAME,
        frames=22_050,
        play_at=TIMELINE.play_at(FRAME, 44_100),
        song_id=5,
        song_frame=1_000_000,
        buffer_position_ms=45_250,
        stamped_at=HostNs(STARTED_AT - 42_000_000_000),
        codec=2,
        tier=1,
        coded_bytes=2_196,
        symbol_bytes=1_090,
        symbols=3,
    ),
    index=2,
    repair=True,
    payload=bytes.fromhex("fff8c9180012a5a55a5a0f0ff0f0beef"),
)

MESSAGES: dict[str, Message] = {
    "announce": Announce(
        session=SESSION,
        timeline=TIMELINE,
        sent_at=HostNs(STARTED_AT + 3_250_000_000),
        format=AudioFormat(44_100, 2, SampleFormat.S16),
        control_port=45_451,
        clock_port=45_452,
        chunk_frames=22_050,
        play_seq=0x0000_0107,
        play_frame=FRAME,
        next_seq=0x0000_0160,
        final_frame=None,
        buffer_ms=45_000,
        buffered_ms=44_750,
        song_id=5,
        nonce=NONCE,
        cookie=COOKIE,
        report_ms=4_000,
        clock_ms=500,
        host_name="Küche",
        tiers=(
            TierOffer(tier=1, kbps=555, active=True, next_seq=0x0000_015F),
            TierOffer(tier=3, kbps=82, active=False, next_seq=0),
        ),
    ),
    "song": SongInfo(
        session=SESSION,
        timeline=TIMELINE,
        song_id=5,
        first_frame=MediaFrame(FRAME - 1_000_000),
        frames=9_876_543,
        title="Für Elise",
        artist="Ludwig van Beethoven",
        album="",
    ),
    "audio": AUDIO,
    "parity": replace(  # of 01020304, 10204080 and ff00: the example of PROTOCOL.md
        AUDIO,
        chunk=replace(AUDIO.chunk, coded_bytes=10, symbol_bytes=4),
        index=4,
        payload=bytes.fromhex("9dc81f8c"),
    ),
    "bye": Bye(session=SESSION, timeline=TIMELINE, reason=ByeReason.ENDED, final_frame=MediaFrame(FRAME + 500_000)),
    "sync": Sync(
        session=SESSION,
        timeline=TIMELINE,
        phase=SyncPhase.PREPARE,
        target_frame=MediaFrame(FRAME + 500_000),
        sync_at=HostNs(STARTED_AT + 9_000_000_000),
        required_ms=5_512,
        slowest_latency_us=512_345,
        buffer_offset_ms=30_000,
        waiting=2,
        slowest="Bad",
        reason="waiting for Bad",
    ),
    "solo": Solo(
        session=SESSION,
        timeline=TIMELINE,
        entries=(
            SoloEntry(listener_id=0, first_frame=MediaFrame(FRAME + 100_000), frames=88_200),
            SoloEntry(listener_id=LISTENER, first_frame=MediaFrame(FRAME + 188_200), frames=88_200),
        ),
    ),
    "solicit": Solicit(session=0, nonce=NONCE),
    "nack": Nack(
        session=SESSION,
        cookie=COOKIE,
        listener_id=LISTENER,
        entries=(
            NackEntry(seq=0x0000_0107, bitmap=0b101),
            NackEntry(seq=0x0000_0109, run=12, tier=3),
            NackEntry(seq=0x0000_0120, bitmap=1 << 43 | 1 << 8 | 1),
        ),
    ),
    "report": Report(
        session=SESSION,
        cookie=COOKIE,
        listener_id=LISTENER,
        state=ListenerState.PLAYING,
        tier=2,
        wants_copy=True,
        rtt_ns=412_345,
        down_ns=250_001,
        up_ns=162_344,
        echo_at=HostNs(STARTED_AT + 3_250_000_000),
        echo_held_ns=456_789_012,
        ready_frame=FRAME,
        lead_ms=287,
        offset_bound_ns=206_789,
        sync_error_ns=-12_345,
        rate_ppb=-45_678,
        buffer_ms=44_321,
        symbols_received=123_456,
        symbols_lost=321,
        symbols_repaired=320,
        chunks_late=2,
        chunks_concealed=1,
        underruns=4,
        hard_resyncs=3,
        jitter_us=1_234,
        offset_us=-7_300,
        name="Bad",
    ),
    "leave": Leave(session=SESSION, cookie=COOKIE, listener_id=LISTENER),
}


def as_hex(data: bytes) -> str:
    """Return `data` as lines of 16 bytes."""
    return "".join(data[i : i + 16].hex(" ") + "\n" for i in range(0, len(data), 16))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the golden datagrams of the tests.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--force", action="store_true", help="overwrite what is there")
    options = parser.parse_args(arguments)
    there = [f"{name}.hex" for name in MESSAGES if (options.folder / f"{name}.hex").exists()]
    if there and not options.force:
        print(f"{options.folder}: {', '.join(there)} exist; give --force to overwrite them", file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, message in MESSAGES.items():
        (options.folder / f"{name}.hex").write_text(as_hex(encode(message)), encoding="ascii")
    print(f"{len(MESSAGES)} datagrams written to {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
