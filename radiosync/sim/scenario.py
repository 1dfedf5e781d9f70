"""Scenarios: physics, faults and limits together, in one file.

A scenario says what the world is like (listeners, clocks, links, sound cards), what goes wrong when, and what must hold
all the same.  With a seed it is one exact run.  `configs/scenarios/` has examples; the keys of their tables are the
fields of the dataclasses here and of `ClockSettings`, `LinkSettings` and `DacSettings`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.config import Config
from radiosync.errors import ConfigError
from radiosync.host.commands import Command
from radiosync.listener.exact import BLOCK_NS
from radiosync.sim.card import DacSettings
from radiosync.sim.clocks import ClockSettings
from radiosync.sim.link import LinkSettings
from radiosync.units import NS_PER_MS

VILLAINS = (
    "greedy",  # asks for everything, all the time
    "liar",  # reports what can't be
    "deaf",  # comes, shows its cookie, and is never heard of again; as often as it can
    "parrot",  # sends again what it has heard, from its own address
    "forger",  # sends what it has heard with some bits turned over, and noise
    "impostor",  # sends in others' names: as the host without its session, as a listener without its cookie
)
HOSTS = ("", "host", "neighbour")  # whom listeners may be told to hear
UNLIMITED = "any"  # in a file, of a limit that is not checked
FAULTS = (
    "outage",  # of the listeners' links, both ways
    "outage_up",
    "outage_down",
    "no_multicast",  # towards the listeners
    "membership_lost",  # at `at_s` the switch forgets which groups the listeners are members of
    "throttle",  # of the listeners' links towards them, to `kbps`
    "jitter",  # of the listeners' links, both ways, as great as their `rough_jitter_ns`
    "stall",  # the listeners' loops stop
    "host_stall",
    "host_return",  # killed without a word, and back after `for_s` to go on where it was
    "suspend",  # the listeners' machines: clock, card and loop stand still
    "host_suspend",
    "clock_step",  # the listeners' clocks jump ahead by `ms`
    "host_clock_step",
    "slew",  # the listeners' clocks run `ppm` faster
    "host_slew",
    "unplug",  # the listeners' sound cards
    "card_delay",  # what they play sounds `ms` later from now on
    "address_change",  # the listeners have another address from now on
    "leave",  # the listeners say good-bye, and come back
    "host_restart",  # killed without a word, and started anew with the same music after `for_s`
    "listener_restart",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What the host plays: `songs_s` are the songs' lengths."""

    rate: int = 8000
    channels: int = 1
    sample: str = "s32"
    songs_s: tuple[float, ...] = (30.0,)
    dense: bool = False
    """Whether it can't be coded smaller without loss."""
    live: bool = False
    """Whether it can be read no faster than it is played."""

    @property
    def format(self) -> AudioFormat:
        """The format; raises ValueError or KeyError where there is no such."""
        return AudioFormat(self.rate, self.channels, SampleFormat[self.sample.upper()])

    @property
    def song_frames(self) -> tuple[int, ...]:
        """The songs' lengths in frames."""
        return tuple(round(seconds * self.rate) for seconds in self.songs_s)

    @property
    def seconds(self) -> float:
        """The length of everything."""
        return sum(self.songs_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host's machine, started at `start_s`."""

    start_s: float = 0.0
    first_seq: int = 0
    """The first chunk's number: a little below 2^32, numbers wrap on the wire soon."""
    songs_s: tuple[float, ...] = ()
    """The songs' lengths, if they are not the stream's."""
    clock: ClockSettings = field(default_factory=ClockSettings)
    up: LinkSettings = field(default_factory=LinkSettings)
    down: LinkSettings = field(default_factory=LinkSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """`count` listeners alike, named `name`, `name`2, …; what has `_spread` is drawn for each within ± that much."""

    name: str
    count: int = 1
    hears: str = ""
    """Which host they are told to hear, "host" or "neighbour"; none for whichever they find."""
    start_s: float = 0.0
    start_s_spread: float = 0.0
    clock: ClockSettings = field(default_factory=ClockSettings)
    clock_ppm_spread: float = 0.0
    offset_s_spread: float = 100_000.0  # about a day: a monotonic clock's zero is its machine's start
    kernel_stamps: bool = True
    block_ms: float = BLOCK_NS / NS_PER_MS
    """How much an exact sink is given at a time: the more, the faster is a run."""
    up: LinkSettings = field(default_factory=LinkSettings)
    down: LinkSettings = field(default_factory=LinkSettings)
    dac: DacSettings | None = None
    dac_ppm_spread: float = 0.0
    lossy: bool = False
    """Whether they may be given a lower quality: then their frames are not compared with the source's."""

    broken: bool = False
    """Whether nobody else may hear that they are there: see `radiosync.sim.isolation`."""

    def __post_init__(self) -> None:
        if self.hears not in HOSTS:
            raise ConfigError(f'unknown host "{self.hears}"; there are {", ".join(HOSTS[1:])}')

    @property
    def names(self) -> tuple[str, ...]:
        """Their machines' names."""
        return tuple(f"{self.name}{number if number > 1 else ''}" for number in range(1, self.count + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong at `at_s` for `for_s`; `listeners` names groups of them, none for all."""

    kind: str
    at_s: float
    for_s: float = 0.0
    listeners: tuple[str, ...] = ()
    kbps: float = 0.0
    ms: float = 0.0
    ppm: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ConfigError(f'unknown fault "{self.kind}"; there are {", ".join(FAULTS)}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Villain:
    """Somebody on the network who means no good, from `at_s` for `for_s`: see `radiosync.sim.villains`."""

    kind: str
    at_s: float
    for_s: float
    rate_per_s: float = 50.0

    def __post_init__(self) -> None:
        if self.kind not in VILLAINS:
            raise ConfigError(f'unknown villain "{self.kind}"; there are {", ".join(VILLAINS)}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the host is ordered at `at_s`: a `kind` as `radiosync ctl` has it; `seconds` is where to seek to."""

    kind: str
    at_s: float
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in set(Command):
            raise ConfigError(f'unknown order "{self.kind}"; there are {", ".join(Command)}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What must hold; None, in a file "any", is not checked.

    That frames are the right ones and come once and in order is checked always.
    """

    complete: bool = False
    """Every exact sink gets every frame of the last session, from its own first one to the last."""
    from_first_frame: bool = False
    """And that first one is the music's."""
    past_end_s_max: float = 0.0
    """How much silence an exact sink may get after the last frame, where the news of the end was lost."""
    silent_frames_max: int | None = 0
    """Frames that an exact sink was given silence for, or a sound card had to conceal, over all listeners."""
    start_s_max: float | None = None
    """From a listener's start to its first frame."""
    resume_s_max: float | None = None
    """From a host's restart to the first frame of the new session."""
    exact_error_ns_p99_max: int | None = None
    """Between the instant an exact sink is given a frame, and that frame's true play-at; stalls left out."""
    settle_s: float = 20.0
    """After a listener's start, until what follows holds."""
    converge_s_max: float = 10.0
    """From `calm_from_s` until everybody plays, nothing is missing any more, and the next limit holds."""
    calm_error_ns_max: int | None = None
    """Between the instant a frame is emitted and its true play-at, without exception."""
    sync_error_ns_p99_max: int | None = None
    """Between the instant a frame leaves a sound card, and its true play-at."""
    apart_ns_p99_max: int | None = None
    """Between any two sound cards."""
    isolation_ns_max: int = NS_PER_MS
    """Between the instants at which a frame is emitted with and without villains and broken listeners."""
    underruns_max: int | None = None
    hard_resyncs_max: int | None = None
    nacks_max: int | None = None
    overflows_max: int | None = 0
    """Of the listeners' queues, each of which has an end and a rule for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario; `config` holds keys of the configuration as "section.key"."""

    title: str
    listeners: tuple[Listeners, ...]
    stream: Stream = field(default_factory=Stream)
    host: Host = field(default_factory=Host)
    neighbour: Host | None = None
    """Another host on the same group and ports, with music of its own; faults and orders are the first one's."""
    faults: tuple[Fault, ...] = ()
    orders: tuple[Order, ...] = ()
    villains: tuple[Villain, ...] = ()
    limits: Limits = field(default_factory=Limits)
    config: Mapping[str, object] = field(default_factory=dict)
    calm_from_s: float | None = None
    """From when on nothing goes wrong any more on any link; all has to be well `limits.converge_s_max` later."""
    membership_s: float | None = None
    """After how long without a report the network forgets that somebody is in a group: 260 where a switch snoops on
    IGMP and nobody asks for members (RFC 3376 section 8.4); None for never."""
    extra_s: float = 6.0
    """How long to go on after the last frame, as if nobody had been waited for and nothing ordered."""

    @property
    def settings(self) -> Config:
        """The configuration of host and listeners; raises ConfigError."""
        return self.settings_with({})

    def settings_with(self, keys: Mapping[str, object]) -> Config:
        """Return the configuration with other values of some keys; raises ConfigError."""
        return Config.load(None, {**self.config, **keys})

    def heard_by(self, name: str) -> str:
        """Return the host that the listener on a machine of this name is told to hear; "" where it takes any."""
        return next((group.hears for group in self.listeners if name in group.names), "")

    def stream_of(self, host: Host) -> Stream:
        """Return what `host` plays."""
        return replace(self.stream, songs_s=host.songs_s) if host.songs_s else self.stream

    def scaled(self, listeners: int | None, minutes: float | None) -> "Scenario":
        """Return this with so many listeners in all, each group with its share, and so much music; None as it is."""
        scaled = self
        if listeners is not None:
            counts = [group.count for group in self.listeners]
            shares = [listeners * sum(counts[: i + 1]) // sum(counts) for i in range(len(counts))]
            counts = [share - before for share, before in zip(shares, [0, *shares], strict=False)]
            groups = tuple(replace(g, count=c) for g, c in zip(self.listeners, counts, strict=True))
            scaled = replace(scaled, listeners=groups)
        if minutes is not None:
            factor = minutes * 60 / self.stream.seconds
            stream = replace(self.stream, songs_s=_times(factor, self.stream.songs_s))
            scaled = replace(scaled, stream=stream, host=replace(self.host, songs_s=_times(factor, self.host.songs_s)))
            if self.neighbour is not None:
                songs_s = _times(factor, self.neighbour.songs_s)
                scaled = replace(scaled, neighbour=replace(self.neighbour, songs_s=songs_s))
        return scaled

    @classmethod
    def load(cls, path: Path) -> "Scenario":
        """Read a scenario file; raises ConfigError, one line that names the file."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            if "config" in table:
                table["config"] = {
                    f"{section}.{key}": value
                    for section, keys in table["config"].items()
                    for key, value in keys.items()
                }
            scenario = _built(cls, table, "")
            scenario.settings, scenario.stream.format  # noqa: B018  # both check
            if scenario.neighbour is None and any(group.hears == "neighbour" for group in scenario.listeners):
                raise ConfigError('"neighbour" is missing, which listeners are to hear')
        except OSError as error:
            raise ConfigError(f"{path}: can't read the scenario: {error.strerror or error}") from None
        except (ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
        return scenario


def _times(factor: float, lengths_s: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(factor * length_s for length_s in lengths_s)


_NESTED: dict[str, type[Any]] = {
    "stream": Stream,
    "host": Host,
    "neighbour": Host,
    "limits": Limits,
    "clock": ClockSettings,
    "up": LinkSettings,
    "down": LinkSettings,
    "dac": DacSettings,
}
_LISTS: dict[str, type[Any]] = {"listeners": Listeners, "faults": Fault, "orders": Order, "villains": Villain}
_Built = TypeVar("_Built")


def _built(kind: type[_Built], table: dict[str, Any], where: str) -> _Built:
    """Return the dataclass `kind` with the values of `table`; raise ConfigError where a key is not its own."""
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f'unknown key "{where}{key}"; there are {", ".join(known)}')
        if key in _NESTED and isinstance(value, dict):
            values[key] = _built(_NESTED[key], value, f"{where}{key}.")
        elif key in _LISTS and isinstance(value, list) and all(isinstance(each, dict) for each in value):
            values[key] = tuple(_built(_LISTS[key], each, f"{where}{key}.") for each in value)
        elif value == UNLIMITED:
            values[key] = None
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    for key, each in known.items():
        if key not in values and each.default is MISSING and each.default_factory is MISSING:
            raise ConfigError(f'"{where}{key}" is missing')
    return kind(**values)
