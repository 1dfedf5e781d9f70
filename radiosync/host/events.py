"""What a host session tells its driver."""

from dataclasses import dataclass

from radiosync.audio.song import Song
from radiosync.host.coordinator import OptimalSync
from radiosync.host.listeners import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerJoined:
    """A listener was heard of for the first time."""

    name: str
    address: tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerLeft:
    """A listener said good-bye, or was silent for too long."""

    name: str
    timed_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerStatusChanged:
    """A listener became active, slow or silent."""

    name: str
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class SongStarted:
    """A song's first frame is due now."""

    song: Song


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLate:
    """The source fell behind the timeline; so many frames of silence were left in the stream."""

    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncGo:
    """The order to start together was given."""

    reason: str
    sync: OptimalSync


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerMuted:
    """A listener has run dry and keeps silent, or is heard again."""

    name: str
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOutOfSync:
    """A listener's sync error has stayed beyond `sync_tolerance`, or is back within it."""

    name: str
    out_of_sync: bool
    error_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPaused:
    """Everybody pauses, `seconds` at most, for those who run dry."""

    names: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResumed:
    """Everybody goes on; `left_behind` are not waited for any more."""

    left_behind: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbationBegan:
    """A listener has stalled too often: nobody pauses for it for so long."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncOrdered:
    """Everybody was ordered to enter anew where they should be."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferChanged:
    """The buffer is made deeper or shallower, or that of a live stream as deep again as it should be."""

    before_ns: int
    depth_ns: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyServed:
    """A listener that multicast does not reach is served a copy by unicast, or not any more."""

    name: str
    served: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRefused:
    """A listener that multicast does not reach asks for a copy, and so many are served already."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherHost:
    """Somebody else hosts on the same group and port."""

    name: str
    ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last frame has been played."""


HostEvent = (
    ListenerJoined
    | ListenerLeft
    | ListenerStatusChanged
    | SongStarted
    | SourceLate
    | SyncGo
    | ListenerMuted
    | ListenerOutOfSync
    | GroupPaused
    | GroupResumed
    | ProbationBegan
    | ResyncOrdered
    | BufferChanged
    | CopyServed
    | CopyRefused
    | OtherHost
    | Finished
)
