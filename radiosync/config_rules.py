"""The rules a configuration value can be held to, each able to say in words what it wants."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, ip_address
from typing import Protocol

_SHOWN_MAX = 60  # characters of a value in a message: the rest of a line stays for the reason


class Rule(Protocol):
    """What a key's value must be."""

    def accept(self, value: object) -> object | None:
        """Return the value in the key's own type, or None where it is not allowed."""

    def wants(self) -> str:
        """Return what is allowed, to follow "must be"."""


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number between two limits, both allowed; also 0 where that has a meaning of its own."""

    low: float
    high: float
    unit: str
    zero: str = ""

    def accept(self, value: object) -> object | None:  # noqa: D102  # Rule.accept
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        allowed = self.low <= value <= self.high or (bool(self.zero) and value == 0)  # refuses NaN too
        return float(value) if allowed else None

    def wants(self) -> str:  # noqa: D102
        zero = f", or 0 for {self.zero}" if self.zero else ""
        return f"a number from {self.low:g} to {self.high:g} ({self.unit}){zero}"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two limits, both allowed; also 0 where that has a meaning of its own."""

    low: int
    high: int
    unit: str = ""
    zero: str = ""

    def accept(self, value: object) -> object | None:  # noqa: D102
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        allowed = self.low <= value <= self.high or (bool(self.zero) and value == 0)
        return value if allowed else None

    def wants(self) -> str:  # noqa: D102
        unit = f" ({self.unit})" if self.unit else ""
        zero = f", or 0 for {self.zero}" if self.zero else ""
        return f"a whole number from {self.low} to {self.high}{unit}{zero}"


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def accept(self, value: object) -> object | None:  # noqa: D102
        return value if isinstance(value, bool) else None

    def wants(self) -> str:  # noqa: D102
        return "true or false"


class Choice:
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def accept(self, value: object) -> object | None:  # noqa: D102
        return value if value in self.words else None

    def wants(self) -> str:  # noqa: D102
        return "one of " + ", ".join(f'"{word}"' for word in self.words)


@dataclass(frozen=True, slots=True)
class Text:
    """Printable text up to a length; empty where the program shall choose."""

    length_max: int

    def accept(self, value: object) -> object | None:  # noqa: D102
        if not isinstance(value, str) or len(value) > self.length_max or not value.isprintable():
            return None
        return value

    def wants(self) -> str:  # noqa: D102
        return f"printable text of at most {self.length_max} characters"


_MULTICAST = IPv4Network("224.0.0.0/4")
_RESERVED = (
    IPv4Network("224.0.0.0/24"),  # routing protocols; switches flood it whatever has been joined (RFC 5771)
    IPv4Network("232.0.0.0/8"),  # needs a source named in the join (RFC 4607), which radiosync does not do
)


_RESERVED_6 = 0x100  # group numbers below it are routing protocols' and all machines' (RFC 4291 section 2.7)
_PERMANENT, _SOURCE_SPECIFIC = 0, 3  # the flags of an IPv6 group (RFC 4291, RFC 3306)


@dataclass(frozen=True, slots=True)
class Group:
    """A multicast address that applications may use; of IPv6 perhaps with a scope, "ff02::5253%eth0"."""

    def accept(self, value: object) -> object | None:  # noqa: D102  # Rule.accept
        try:
            address = ip_address(value) if isinstance(value, str) else None
        except ValueError:
            return None
        if isinstance(address, IPv6Address):
            return str(address) if self._is_usable(address) else None
        if address is None or address not in _MULTICAST or any(address in net for net in _RESERVED):
            return None
        return str(address)

    @staticmethod
    def _is_usable(address: IPv6Address) -> bool:
        number = int(address)
        flags, reach, group = number >> 116 & 15, number >> 112 & 15, number & (1 << 112) - 1
        reserved = flags == _PERMANENT and group < _RESERVED_6
        return address.is_multicast and flags != _SOURCE_SPECIFIC and reach not in {0, 15} and not reserved

    def wants(self) -> str:  # noqa: D102
        return (
            "a multicast address: of IPv4 from 224.0.1.0 to 239.255.255.255, not 232.x (239.255.x.x stays in the "
            "house), or of IPv6 (ff15::5253 stays in the house, ff02::5253%eth0 in one network)"
        )


@dataclass(frozen=True, slots=True)
class _Output:
    """An output: a word alone, or a word with an argument after a colon."""

    def accept(self, value: object) -> object | None:
        if not isinstance(value, str) or not value.isprintable():
            return None
        kind, colon, argument = value.partition(":")
        if value in {"device", "null", "pipe:-"} or (kind in {"device", "wav"} and colon and argument):
            return value
        return None

    def wants(self) -> str:
        return 'one of "device", "device:NAME-OR-INDEX", "wav:PATH", "pipe:-", "null"'


OUTPUT_RULE: Rule = _Output()


def shown(value: object) -> str:
    """Return `value` as TOML would have it, on one line, shortened where it is long."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        # Escaped, so that no line end or escape sequence of a file reaches the terminal.
        text = '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value) + '"'
    else:
        try:
            text = " ".join(ascii(value).split())
        except (ValueError, RecursionError):  # a number of more than 4300 digits, or a maze of tables
            return "a value too long to be shown"
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 2] + "…" + text[-1]


def nearest(name: str, known: list[str]) -> str:
    """Return the name of `known` most like `name`."""
    import difflib  # noqa: PLC0415  # only who has made a mistake waits for it

    return max(known, key=lambda each: difflib.SequenceMatcher(None, name.lower(), each.lower()).ratio())
