"""What a listener session tells its driver."""

from dataclasses import dataclass

from radiosync.audio.format import AudioFormat
from radiosync.units import MediaFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFound:
    """A host answered; its stream has this format."""

    name: str
    ip: str
    format: AudioFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStarted:
    """The first frame has been chosen."""

    frame: MediaFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class SongChanged:
    """Another song is heard from now on."""

    title: str
    artist: str
    album: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded:
    """The last frame has been played."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGone:
    """The host said good-bye before the end (stopped), or has been silent until everything was played."""

    stopped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityChanged:
    """Another tier is listened to from now on; 0 is lossless."""

    tier: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncAlarmed:
    """The sync error has gone beyond `sync_tolerance`, or come back."""

    out_of_sync: bool
    error_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteChanged:
    """Music has run out, so nothing is heard until there is enough again; or there is."""

    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyChanged:
    """What goes to the group does not arrive, so a copy by unicast is asked for; or it arrives again."""

    wanted: bool


ListenerEvent = (
    MuteChanged
    | CopyChanged
    | QualityChanged
    | SyncAlarmed
    | HostFound
    | PlaybackStarted
    | SongChanged
    | StreamEnded
    | HostGone
)
