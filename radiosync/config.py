"""The configuration: every key, its default, its limits, and the one place where they are checked.

A `Config` is four frozen sections.  Each key is a dataclass field that carries its own limits, so that a section can't
be built with an impossible value: not from a file, not from an option, not in a test.  The keys are written as people
think of them (seconds, milliseconds); the rest of the program uses the `…_ns` properties.

`configs/default.toml` explains each key to its reader.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from radiosync.config_rules import (
    OUTPUT_RULE,
    Choice,
    Flag,
    Group,
    Number,
    Rule,
    Text,
    Whole,
    nearest,
    shown,
)
from radiosync.errors import ConfigError
from radiosync.units import NS_PER_MS, ns_from_s

_RULE = "rule"
BUFFER_GROWTH_LIVE = 4  # times the delay that a person has asked for is the most they would put up with
CHUNKS_PER_BUFFER = 10  # at least, or a buffer is lost with every chunk


def _key(default: object, rule: Rule) -> Any:
    return field(default=default, metadata={_RULE: rule})


class _Section:
    """What the four sections share: no value outside its limits, whoever builds it.

    Raises ConfigError that names key, value and limits.
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        for key in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = _checked(_SECTION_NAMES[type(self)], key, getattr(self, key.name))
            object.__setattr__(self, key.name, value)  # 2 becomes 2.0 where the key is a float


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioSyncConfig(_Section):
    """The section `[radio_sync]`: buffering, latency and sync."""

    # From 0.1 s, where a pause of the operating system empties it, to 120 s: 740 MB of the largest format there is.
    buffer_duration: float = _key(45.0, Number(0.1, 120, "s"))
    buffer_max: float = _key(0.0, Number(0.1, 120, "s", zero="what suits the source"))  # as buffer_duration
    # Below 5 ms headers outweigh the music; above 2 s hardly any format fits into the most datagrams a chunk may have.
    chunk_duration: float = _key(0.5, Number(0.005, 2, "s"))
    safety_margin: float = _key(5.0, Number(0, 60, "s"))
    # 1 ms is a wire; beyond 30 s it is not a latency but an outage.
    max_client_latency: float = _key(2000.0, Number(1, 30_000, "ms"))
    latency_samples: int = _key(10, Whole(1, 1000, "samples"))  # 1000: a quarter of an hour of memory per listener
    # Above 10 s the clock estimate is three times worse than at 1 s; below 0.1 s it gains nothing more.
    ping_interval: float = _key(1.0, Number(0.1, 10, "s"))
    # 0.01 ms is the least difference between two ears that anybody hears; a second is no longer the same music.
    sync_tolerance: float = _key(2.0, Number(0.01, 1000, "ms"))
    resync_threshold: float = _key(5.0, Number(0.1, 5000, "ms"))
    underrun_policy: str = _key("mute", Choice("mute", "pause"))
    underrun_share: float = _key(0.5, Number(0, 1, "share of the listeners"))
    slow_client_timeout: float = _key(30.0, Number(1, 3600, "s"))
    enable_compression: bool = _key(True, Flag())
    adaptive_quality: bool = _key(True, Flag())
    predictive_buffering: bool = _key(True, Flag())

    @property
    def buffer_ns(self) -> int:
        """How far ahead of its play-at a chunk may be sent, in ns."""
        return ns_from_s(self.buffer_duration)

    def buffer_max_ns(self, *, live: bool) -> int:
        """Return how far ahead chunks are sent at most, in ns, where the network needs it."""
        if self.buffer_max:
            return ns_from_s(self.buffer_max)
        default_ns = ns_from_s(RadioSyncConfig().buffer_duration)
        return BUFFER_GROWTH_LIVE * self.buffer_ns if live else max(self.buffer_ns, default_ns)

    @property
    def chunk_ns(self) -> int:
        """How long a chunk may last, in ns."""
        return ns_from_s(self.chunk_duration)

    def chunk_ns_at(self, depth_ns: int) -> int:
        """Return how long a chunk lasts in a buffer `depth_ns` deep, in ns; the last of a song may be shorter."""
        return min(self.chunk_ns, depth_ns // CHUNKS_PER_BUFFER)

    @property
    def safety_ns(self) -> int:
        """What a group's start wants buffered beyond the slowest latency, in ns."""
        return ns_from_s(self.safety_margin)

    @property
    def max_client_latency_ns(self) -> int:
        """The latency above which a listener is slow, in ns."""
        return _ns_from_ms(self.max_client_latency)

    @property
    def ping_ns(self) -> int:
        """The time between two clock exchanges of a settled listener, in ns."""
        return ns_from_s(self.ping_interval)

    @property
    def tolerance_ns(self) -> int:
        """The sync error that counts as in sync, in ns."""
        return _ns_from_ms(self.sync_tolerance)

    @property
    def resync_ns(self) -> int:
        """The sync error above which a listener jumps, in ns."""
        return _ns_from_ms(self.resync_threshold)

    @property
    def slow_client_ns(self) -> int:
        """How long a listener may be silent before it is forgotten, in ns."""
        return ns_from_s(self.slow_client_timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig(_Section):
    """The section `[network]`: where the datagrams go."""

    group: str = _key("239.255.77.77", Group())
    port: int = _key(45450, Whole(1, 65_533))  # 65533: the control and clock ports are the next two
    interface: str = _key("", Text(64))  # longer than any interface name or address
    ttl: int = _key(1, Whole(0, 32))  # 32 routers are a site; beyond that it is the internet
    dscp_clock: int = _key(46, Whole(0, 63))  # six bits
    dscp_audio: int = _key(34, Whole(0, 63))
    # 548 bytes every IPv4 host must take (RFC 1122); 1200 is the wire format's own limit.
    datagram_max: int = _key(1200, Whole(548, 1200, "bytes"))

    @property
    def control_port(self) -> int:
        """The host's unicast port for joining, NACKs and reports."""
        return self.port + 1

    @property
    def clock_port(self) -> int:
        """The host's unicast port for clock exchanges."""
        return self.port + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig(_Section):
    """The section `[host]`: what the host sends, and how fast."""

    codec: str = _key("auto", Choice("auto", "flac", "pcm"))
    rate: int = _key(0, Whole(8000, 192_000, "Hz", zero="the first song's"))  # as audio.format
    channels: int = _key(0, Whole(1, 8, "channels", zero="the first song's"))
    loop: bool = _key(False, Flag())
    start_lead: float = _key(1.0, Number(0.05, 60, "s"))  # 0.05 s: a listener's sound device must be met in time
    fill_rate: float = _key(4.0, Number(1.1, 64, "× the music's rate"))  # at 1 it would never fill
    repair_share: float = _key(4.0, Number(0, 16, "× the stream's rate"))
    repair_share_total: float = _key(8.0, Number(0, 64, "× the stream's rate"))
    copies_max: int = _key(16, Whole(0, 256, "listeners"))  # 256 copies would need 256 Mbit/s
    control: str = _key("127.0.0.1", Text(64))  # longer than any address
    history_linger: float = _key(3.0, Number(0, 30, "s"))
    remember: bool = _key(True, Flag())

    @property
    def start_lead_ns(self) -> int:
        """The time from the first datagram to the first frame's play-at, in ns."""
        return ns_from_s(self.start_lead)

    @property
    def linger_ns(self) -> int:
        """How long after its last frame's play-at a chunk is kept for repairs, in ns."""
        return ns_from_s(self.history_linger)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig(_Section):
    """The section `[listener]`: who plays, on what."""

    name: str = _key("", Text(63))  # a host name's label
    host: str = _key("", Text(64))  # longer than any address
    output: str = _key("device", OUTPUT_RULE)
    volume: float = _key(100.0, Number(0, 100, "%"))
    offset_ms: float = _key(0.0, Number(-2000, 2000, "ms"))  # a loudspeaker over Bluetooth needs some 300
    # Below 20 ms a pause of the interpreter empties the ring; above 2 s commands and corrections lag.
    remember: bool = _key(True, Flag())
    render_ahead: float = _key(0.35, Number(0.02, 2, "s"))

    @property
    def offset_ns(self) -> int:
        """How much later than its play-at a frame leaves this device, in ns; negative is earlier."""
        return _ns_from_ms(self.offset_ms)

    @property
    def render_ahead_ns(self) -> int:
        """How far ahead of the device frames are rendered, in ns."""
        return ns_from_s(self.render_ahead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a person can set.

    Raises ConfigError where two keys contradict each other.
    """

    radio_sync: RadioSyncConfig = field(default_factory=RadioSyncConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    host: HostConfig = field(default_factory=HostConfig)
    listener: ListenerConfig = field(default_factory=ListenerConfig)

    def __post_init__(self) -> None:
        _check_together(self)

    @property
    def codec(self) -> str:
        """The codec in effect, "flac" or "pcm"."""
        if self.host.codec != "auto":
            return self.host.codec
        return "flac" if self.radio_sync.enable_compression else "pcm"

    @classmethod
    def load(cls, path: Path | None = None, overrides: Mapping[str, object] | None = None) -> Self:
        """Read the file at `path` (None: the defaults alone), then put `overrides` on top.

        The keys of `overrides` are "section.key"; a value of None counts as not given, as an absent option does.
        Where only `buffer_duration` is made shorter, the defaults that must fit into it shrink with it.

        Raises ConfigError, one line that names the file or says "option".
        """
        given: dict[str, dict[str, object]] = {name: {} for name in _SECTIONS}
        if path is not None:
            for section, table in _read_toml(path).items():
                given[_known_section(section, table, str(path))].update(_section_values(section, table, str(path)))
        for dotted, value in (overrides or {}).items():
            if value is not None:
                section, _, key = dotted.rpartition(".")
                values = _section_values(_known_section(section, {}, "option"), {key: value}, "option")
                given[section].update(values)
        _fit_to_buffer(given)
        try:
            return cls(**{name: section(**given[name]) for name, section in _SECTIONS.items()})
        except ConfigError as error:  # the values alone are good: it is two of them together
            raise ConfigError(f"{path}: {error}" if path is not None else str(error)) from None


_SECTIONS: dict[str, type[Any]] = {
    "radio_sync": RadioSyncConfig,
    "network": NetworkConfig,
    "host": HostConfig,
    "listener": ListenerConfig,
}
_SECTION_NAMES = {section: name for name, section in _SECTIONS.items()}


def all_keys() -> list[str]:
    """Return every key as "section.key", in the order of their explanation."""
    return [f"{name}.{key.name}" for name, section in _SECTIONS.items() for key in fields(section)]


def _ns_from_ms(milliseconds: float) -> int:
    return round(milliseconds * NS_PER_MS)


def _checked(section: str, key: Field[Any], value: object) -> object:
    rule: Rule = key.metadata[_RULE]
    checked = rule.accept(value)
    if checked is None:
        raise ConfigError(f"{section}.{key.name} = {shown(value)}: must be {rule.wants()}")
    return checked


def _read_toml(path: Path) -> dict[str, object]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't read the configuration: {error.strerror or error}") from None
    import tomllib  # noqa: PLC0415  # only who has a file waits for it

    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: not valid TOML: not UTF-8 text (at line {line})") from None
    except tomllib.TOMLDecodeError as error:  # its message ends in "(at line 3, column 5)"
        raise ConfigError(f"{path}: not valid TOML: {' '.join(str(error).split())}") from None
    except ValueError:  # Python reads no number of more than 4300 digits
        raise ConfigError(f"{path}: not valid TOML: a number has too many digits") from None
    except RecursionError:  # a few thousand brackets one inside the other
        raise ConfigError(f"{path}: not valid TOML: nested too deeply") from None


def _known_section(section: str, table: object, origin: str) -> str:
    if section in _SECTIONS and isinstance(table, dict):
        return section
    if section in _SECTIONS:
        raise ConfigError(f'{origin}: "{section}" is a section and takes no value; write [{section}]')
    if not isinstance(table, dict):  # a key before the first section
        homes = _homes(section)
        hint = f"it belongs under [{homes[0]}]" if homes else _did_you_mean(section, all_keys())
        raise ConfigError(f'{origin}: key "{_name(section)}" stands outside of every section; {hint}')
    raise ConfigError(f'{origin}: unknown section "{_name(section)}"; {_did_you_mean(section, list(_SECTIONS))}')


def _section_values(section: str, table: object, origin: str) -> dict[str, object]:
    """Return the checked values of one section; raise ConfigError that names `origin`."""
    assert isinstance(table, dict)
    known = {key.name: key for key in fields(_SECTIONS[section])}
    values: dict[str, object] = {}
    for name, value in table.items():
        if name not in known:
            homes = _homes(name)
            hint = f"it belongs under [{homes[0]}]" if homes else _did_you_mean(name, list(known))
            raise ConfigError(f'{origin}: unknown key "{section}.{_name(name)}"; {hint}')
        try:
            values[name] = _checked(section, known[name], value)
        except ConfigError as error:
            raise ConfigError(f"{origin}: {error}") from None
    return values


def _homes(key: str) -> list[str]:
    return [name for name, section in _SECTIONS.items() if key in {each.name for each in fields(section)}]


def _name(name: str) -> str:
    return shown(name)[1:-1]  # a quoted TOML key may hold line ends


def _did_you_mean(name: str, known: list[str]) -> str:
    return f'did you mean "{nearest(name, known)}"?'


def _fit_to_buffer(given: dict[str, dict[str, object]]) -> None:
    """Shrink the defaults that must fit into a buffer shorter than usual, so that `--buffer 2` is enough to say."""
    buffer_s = given["radio_sync"].get("buffer_duration")
    if not isinstance(buffer_s, float):
        return
    # Half, so that two fit; a quarter each for latency and margin, so that both do.
    for section, key, default, most in (
        ("radio_sync", "chunk_duration", RadioSyncConfig().chunk_duration, buffer_s / 2),
        ("radio_sync", "safety_margin", RadioSyncConfig().safety_margin, buffer_s / 4),
        ("radio_sync", "max_client_latency", RadioSyncConfig().max_client_latency, buffer_s / 4 * 1000),
    ):
        given[section].setdefault(key, min(default, most))


def _check_together(config: Config) -> None:
    sync, host = config.radio_sync, config.host
    if 0 < sync.buffer_max < sync.buffer_duration:
        raise ConfigError(
            f"radio_sync.buffer_max = {sync.buffer_max:g} s: must not be less than "
            f"radio_sync.buffer_duration = {sync.buffer_duration:g} s"
        )
    if sync.chunk_duration * 2 > sync.buffer_duration:  # one that plays and one that arrives
        raise ConfigError(
            f"radio_sync.chunk_duration = {sync.chunk_duration:g} s: two chunks must fit into "
            f"radio_sync.buffer_duration = {sync.buffer_duration:g} s"
        )
    # Or the group's start would wait for more than a buffer ever holds.
    chunk_s = min(sync.chunk_duration, sync.buffer_duration / CHUNKS_PER_BUFFER)
    needed_s = sync.safety_margin + sync.max_client_latency / 1000 + chunk_s
    if needed_s > sync.buffer_duration:
        raise ConfigError(
            f"radio_sync.safety_margin = {sync.safety_margin:g} s: with max_client_latency "
            f"({sync.max_client_latency:g} ms) and one chunk it makes {needed_s:g} s, "
            f"more than radio_sync.buffer_duration = {sync.buffer_duration:g} s"
        )
    if sync.sync_tolerance >= sync.resync_threshold:  # or a listener in sync would jump
        raise ConfigError(
            f"radio_sync.sync_tolerance = {sync.sync_tolerance:g} ms: must be less than "
            f"radio_sync.resync_threshold = {sync.resync_threshold:g} ms"
        )
    if sync.slow_client_timeout < 3 * sync.ping_interval:  # or two lost datagrams would remove a listener
        raise ConfigError(
            f"radio_sync.slow_client_timeout = {sync.slow_client_timeout:g} s: must be at least three times "
            f"radio_sync.ping_interval = {sync.ping_interval:g} s"
        )
    if host.repair_share > host.repair_share_total:  # what one may have, all together may
        raise ConfigError(
            f"host.repair_share = {host.repair_share:g}: must not exceed "
            f"host.repair_share_total = {host.repair_share_total:g}"
        )
    if host.codec == "flac" and not sync.enable_compression:
        raise ConfigError('host.codec = "flac": contradicts radio_sync.enable_compression = false')
