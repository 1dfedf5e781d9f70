"""The messages of the radiosync protocol, as values.

`radiosync.wire.codec` turns them into bytes and back; PROTOCOL.md beside this file explains them to somebody who writes
a listener in another language.  Sequence numbers are 32 bits on the wire and wrap; everything inside works with the
extended number that `extend_seq` gives.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from radiosync.audio.format import AudioFormat
from radiosync.timeline import Timeline
from radiosync.units import HostNs, MediaFrame

SYMBOLS_MAX = 192  # source symbols of a chunk: with up to 64 parity symbols they fit a code over GF(256)
SEQ_BITS = 32


class Kind(IntEnum):
    """The message kinds; 1 to 15 go from host to listener, 16 and up from listener to host."""

    ANNOUNCE = 1
    SONG = 2
    AUDIO = 3
    BYE = 4
    SYNC = 5
    SOLO = 6
    SOLICIT = 16
    NACK = 17
    REPORT = 18
    LEAVE = 19


class ByeReason(IntEnum):
    """Why a host says good-bye."""

    ENDED = 1
    STOPPED = 2


class ListenerState(IntEnum):
    """What a listener says of itself."""

    WAITING = 0
    SYNCING = 1
    BUFFERING = 2
    PLAYING = 3
    ENDED = 4
    PAUSED = 5
    MUTED = 6
    """It has run dry, keeps silent, and comes back by itself when it holds enough."""


class SyncPhase(IntEnum):
    """What a sync command asks for."""

    PREPARE = 1
    """Get ready to play from the target on, and say so."""
    GO = 2
    """Play from the target on at the instant given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOffer:
    """A lower quality of the same stream: the same chunks, coded smaller, sent to a group of its own."""

    tier: int
    """Its number, which is also what its group's address is further on than the stream's; lossless is 0."""
    kbps: int
    """What it takes of the network, in kbit/s."""
    active: bool
    """Whether it is being sent; a listener that reports or asks for it makes it so."""
    next_seq: int
    """All symbols of every chunk before this one have been sent in this quality; 0 while it is not being sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Everything a listener must know of a session before it can play."""

    session: int
    timeline: Timeline
    sent_at: HostNs
    format: AudioFormat
    control_port: int
    clock_port: int
    chunk_frames: int
    """The usual number of frames in a chunk; the last of a song may be shorter."""
    play_seq: int
    """The chunk that is due, or will be first."""
    play_frame: MediaFrame
    """Its first frame."""
    next_seq: int
    """All symbols of every chunk before this one have been sent."""
    final_frame: MediaFrame | None
    """Where the music ends, once known."""
    buffer_ms: int
    """How far ahead of its play-at a chunk is sent."""
    buffered_ms: int
    """How much audio lies ready at the host."""
    song_id: int
    nonce: int = 0
    """The solicitation's, in an answer to one."""
    cookie: int = 0
    """Proof of a listener's address, in an answer to a solicitation."""
    report_ms: int = 1000
    """How often a listener should report while it plays well."""
    clock_ms: int = 0
    """The least time between two questions to the clock, of a listener that has learnt it."""
    host_name: str = ""
    tiers: tuple[TierOffer, ...] = ()
    """What the host can send beside lossless, the best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SongInfo:
    """The tags of a song and where in the stream it begins."""

    session: int
    timeline: Timeline
    song_id: int
    first_frame: MediaFrame
    frames: int | None
    title: str
    artist: str
    album: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkHeader:
    """What every datagram says of the chunk that it carries a symbol of."""

    seq: int
    epoch: int
    first_frame: MediaFrame
    frames: int
    play_at: HostNs
    song_id: int
    song_frame: int
    """The position of the chunk's first frame in its song."""
    buffer_position_ms: int
    """How far ahead of the play position the chunk lay when it was added to the host's buffer."""
    stamped_at: HostNs
    """When it was added."""
    codec: int
    tier: int = 0
    """The quality; every tier has the same chunks."""
    coded_bytes: int
    symbol_bytes: int
    symbols: int
    """How many source symbols the chunk has; symbols numbered from here on are parity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """One symbol of a chunk."""

    session: int
    timeline: Timeline
    chunk: ChunkHeader
    index: int
    repair: bool
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The host ends the session; with ENDED the music before `final_frame` is still to be played."""

    session: int
    timeline: Timeline
    reason: ByeReason
    final_frame: MediaFrame | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """The host prepares a start of everybody together, or orders it."""

    session: int
    timeline: Timeline
    phase: SyncPhase
    target_frame: MediaFrame
    """Where everybody is to be."""
    sync_at: HostNs
    """When; with PREPARE the earliest that it could be."""
    required_ms: int
    """How much audio from the target on counts as ready."""
    slowest_latency_us: int
    buffer_offset_ms: int
    """How much audio from the target on the host has ready."""
    waiting: int
    """How many listeners are not ready yet."""
    slowest: str
    """The listener that sets the tempo."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SoloEntry:
    """A stretch of the stream that one listener plays alone: `frames` frames from `first_frame` on."""

    listener_id: int
    """Who; 0 is nobody."""
    first_frame: MediaFrame
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Solo:
    """The host names stretches that one listener each plays alone, while the others keep silent and in sync."""

    session: int
    timeline: Timeline
    entries: tuple[SoloEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solicit:
    """A listener asks whoever hosts on this group to announce itself, at once and to it alone."""

    session: int
    """The session it wants, or 0 for any."""
    nonce: int


class NackEntry(NamedTuple):  # of which a datagram holds hundreds: a tuple is made in a third of the time
    """Missing symbols: `run` whole chunks from `seq` on, or those of chunk `seq` whose bit is set in `bitmap`."""

    seq: int
    run: int = 0
    bitmap: int = 0
    tier: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """A listener asks for symbols again, the most urgent first."""

    session: int
    cookie: int
    listener_id: int
    entries: tuple[NackEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a listener fares; sent about once a second."""

    session: int
    cookie: int
    listener_id: int
    state: ListenerState
    tier: int = 0
    """The quality that it wants to be sent."""
    wants_copy: bool = False
    """Whether it asks for a copy by unicast of what goes to the group, which does not reach it."""
    rtt_ns: int
    down_ns: int
    """How long a datagram takes from host to listener, by the listener's estimate of the clocks."""
    up_ns: int
    """And back."""
    echo_at: HostNs
    """When the last announcement heard was sent; 0 for none yet."""
    echo_held_ns: int
    """How long ago it was heard: with it the host measures the round trip too (as RFC 3550 section 6.4.1)."""
    ready_frame: MediaFrame | None
    """The target of a sync command that this listener is ready for."""
    lead_ms: int
    """How far ahead of its DAC the listener renders: a command must come so much earlier."""
    offset_bound_ns: int
    sync_error_ns: int
    rate_ppb: int
    """The playout's rate correction in parts per thousand million."""
    buffer_ms: int
    symbols_received: int
    symbols_lost: int
    symbols_repaired: int
    chunks_late: int
    chunks_concealed: int
    underruns: int
    hard_resyncs: int
    jitter_us: int = 0
    """How unevenly datagrams arrive (RFC 3550 section 6.4.1)."""
    offset_us: int = 0
    """How much later than the play-at it was told to play."""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """A listener goes."""

    session: int
    cookie: int
    listener_id: int


Message = Announce | SongInfo | Audio | Bye | Sync | Solo | Solicit | Nack | Report | Leave


def extend_seq(wire: int, near: int) -> int:
    """Return the extended sequence number that ends in the 32 bits `wire` and lies nearest to `near`."""
    half = 1 << (SEQ_BITS - 1)
    delta = (wire - near + half) % (1 << SEQ_BITS) - half
    return near + delta
