"""A local network of network namespaces: one bridge, one host, some listeners, nothing else.

Every machine is a namespace with one interface, eth0, on a bridge in a namespace of its own; the real interfaces take
no part.  The host is 10.77.0.1, the listeners 10.77.0.10 and up.  Offloads are off, so that single frames are lost or
delayed, and the bridge snoops IGMP, as a decent switch does.

Loss alone is made in the kernel (nftables, at random at the interfaces' ingress); everything with a delay, jitter or
bursts goes through relay.py.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
NETWORK = "10.77.0"
FIRST_LISTENER = 10
STOP_S = 5.0
THROTTLE_BURST_S = 0.1  # what a slow link's queue lets through at once ...
THROTTLE_BURST_MIN = 6000  # ... and at least a few datagrams, in bytes


class LabError(Exception):
    """The lab can't be set up on this machine."""


def sh(*command: str, check: bool = True) -> str:
    """Run a command and return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@dataclass
class Way:
    """What happens to frames in one direction."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Uniform, plus or minus, drawn anew for each frame; frames keep their order."""
    loss_percent: float = 0.0
    burst: float = 1.0
    """The mean length of a burst of losses, in frames ..."""
    burst_spread: int = 0
    """... which is drawn evenly from as many less to as many more; 0: geometrically, from 1 on."""

    @property
    def relayed(self) -> bool:
        """Whether the kernel can't do it."""
        return bool(self.delay_ms or self.jitter_ms or (self.loss_percent and self.burst > 1))


@dataclass
class Link:
    """A listener's cable: `down` is from host to listener."""

    down: Way = field(default_factory=Way)
    up: Way = field(default_factory=Way)

    @property
    def relayed(self) -> bool:
        """Whether either way needs the relay."""
        return self.down.relayed or self.up.relayed

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "Link":
        """Take {"delay_ms": 20, "down": {…}, "up": {…}}: what is said outside of down and up is both ways."""
        both = {key: value for key, value in values.items() if key not in ("down", "up")}
        for way in (both, values.get("down", {}), values.get("up", {})):
            unknown = set(way) - {f.name for f in fields(Way)}
            if unknown:
                raise LabError(f"a link has no {', '.join(sorted(unknown))}")
        return cls(Way(**both | values.get("down", {})), Way(**both | values.get("up", {})))


class Lan:
    """The namespaces and what connects them, while the `with` block lasts."""

    host_ip = f"{NETWORK}.1"

    def __init__(self, listeners: int, links: dict[int, Link]) -> None:
        self._tag = f"lab{os.getpid()}"
        self._listeners = listeners
        self._links = links
        self._relay: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.switch, self.host = f"{self._tag}-switch", f"{self._tag}-host"
        self.relay_counts: list[dict[str, float]] = []

    def listener(self, i: int) -> str:
        """Return the name of listener i's namespace."""
        return f"{self._tag}-{i}"

    def ip(self, i: int) -> str:
        """Return the address of listener i."""
        return f"{NETWORK}.{FIRST_LISTENER + i}"

    def plug(self, i: int | str, *, connected: bool) -> None:
        """Pull the cable of listener i, or of "host", out of the switch, or put it back."""
        sh("ip", "-n", self.switch, "link", "set", f"port{i}", "up" if connected else "down")

    def throttle(self, i: int, kbps: float | None) -> None:
        """Let no more than so much come in at listener i, and drop the rest; None lifts it."""
        rules = "add table netdev lab_throttle; delete table netdev lab_throttle; "
        if kbps is not None:
            rate = round(kbps * 1000 / 8)
            rules += (
                "add table netdev lab_throttle; "
                'add chain netdev lab_throttle in { type filter hook ingress device "eth0" priority 1; }; '
                f"add rule netdev lab_throttle in limit rate over {rate} bytes/second "
                f"burst {max(THROTTLE_BURST_MIN, round(rate * THROTTLE_BURST_S))} bytes counter drop"
            )
        sh("ip", "netns", "exec", self.listener(i), "nft", rules)

    def __enter__(self) -> "Lan":
        try:
            self._set_up()
        except BaseException:
            self._tear_down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tear_down()

    def _set_up(self) -> None:
        machines = [("host", self.host, self.host_ip, Link())]
        machines += [(str(i), self.listener(i), self.ip(i), self._links.get(i, Link())) for i in range(self._listeners)]
        for namespace in (self.switch, *(namespace for _, namespace, _, _ in machines)):
            sh("ip", "netns", "add", namespace)
            sh("ip", "-n", namespace, "link", "set", "lo", "up")
        self._make_bridge()
        relayed: list[dict[str, Any]] = []
        for port, namespace, _, link in machines:
            if link.relayed:
                relayed.append(
                    {
                        "a": [self.switch, f"port{port}"],
                        "b": [namespace, "eth0"],
                        "down": asdict(link.down),
                        "up": asdict(link.up),
                        "seed": len(relayed) + 1,
                    }
                )
            else:
                peer = ("peer", "name", "eth0", "netns", namespace)
                sh("ip", "link", "add", f"port{port}", "netns", self.switch, "type", "veth", *peer)
        if relayed:
            self._start_relay(relayed)
        for port, namespace, ip, link in machines:
            self._connect(f"port{port}", namespace, ip, link)
        self._introduce([(namespace, ip) for _, namespace, ip, _ in machines])

    def _make_bridge(self) -> None:
        bridge = ("ip", "-n", self.switch, "link", "set", "br0")
        sh("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
        # A querier of its own with short intervals (in 10 ms): snooping works within a second, not within minutes.
        intervals = ("mcast_query_interval", "100", "mcast_query_response_interval", "10")
        sh(*bridge, "type", "bridge", "mcast_snooping", "1", *intervals, "mcast_startup_query_interval", "10")
        sh(*bridge, "type", "bridge", "mcast_querier", "1")
        sh(*bridge, "up")

    def _start_relay(self, links: list[dict[str, Any]]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lab-relay-")
        plan = Path(self._folder.name, "links.json")
        plan.write_text(json.dumps(links))
        command = [sys.executable, str(HERE / "relay.py"), str(plan)]
        self._relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._relay.stdout is not None
        if self._relay.stdout.readline().strip() != "ready":
            raise LabError("relay.py did not start: is /dev/net/tun there?")

    def _connect(self, port: str, namespace: str, ip: str, link: Link) -> None:
        for place, device in ((self.switch, port), (namespace, "eth0")):
            offloads = [word for name in ("tso", "gso", "gro", "tx") for word in (name, "off")]
            sh("ip", "netns", "exec", place, "ethtool", "-K", device, *offloads, check=False)
        sh("ip", "-n", self.switch, "link", "set", port, "master", "br0", "up")
        sh("ip", "-n", namespace, "addr", "add", f"{ip}/24", "dev", "eth0")
        sh("ip", "-n", namespace, "link", "set", "eth0", "up")
        if not link.relayed:
            self._lose(namespace, "eth0", link.down.loss_percent)
            self._lose(self.switch, port, link.up.loss_percent)

    @staticmethod
    def _introduce(machines: list[tuple[str, str]]) -> None:
        """Tell host and listeners each other's hardware addresses: to ask takes a round trip, and links may be long."""
        known = {}
        for namespace, ip in machines:
            (eth0,) = json.loads(sh("ip", "-n", namespace, "-j", "link", "show", "eth0"))
            known[namespace] = (ip, eth0["address"])
        host, *listeners = known
        for listener in listeners:
            for here, there in ((host, listener), (listener, host)):
                ip, address = known[there]
                sh("ip", "-n", here, "neigh", "replace", ip, "lladdr", address, "dev", "eth0", "nud", "permanent")

    @staticmethod
    def _lose(namespace: str, device: str, percent: float) -> None:
        """Drop a share of the frames that come in at `device`."""
        if percent <= 0:
            return
        rules = (
            f"add table netdev lab_{device}; "
            f'add chain netdev lab_{device} loss {{ type filter hook ingress device "{device}" priority 0; }}; '
            f"add rule netdev lab_{device} loss numgen random mod 100000 < {round(percent * 1000)} counter drop"
        )
        sh("ip", "netns", "exec", namespace, "nft", rules)

    def _tear_down(self) -> None:
        if self._relay is not None:
            self._relay.terminate()
            try:
                said = self._relay.communicate(timeout=STOP_S)[0].strip()
            except subprocess.TimeoutExpired:
                self._relay.kill()
                said = self._relay.communicate()[0].strip()
            with contextlib.suppress(json.JSONDecodeError, IndexError):
                self.relay_counts = json.loads(said.splitlines()[-1])
            self._relay = None
        for namespace in (self.host, *(self.listener(i) for i in range(self._listeners)), self.switch):
            sh("ip", "netns", "del", namespace, check=False)
        if self._folder is not None:
            self._folder.cleanup()
