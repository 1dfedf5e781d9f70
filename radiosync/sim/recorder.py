"""A run as lines for a plot: who stood where, every tenth of a second, and what happened in between.

Each line is one JSON object.  "run" comes first, with the scenario; "sample" is one listener at one instant; "event" is
what a session reported; "violation" is what was found wrong.  Times are true seconds since the world began.
"""

from collections.abc import Callable
from typing import Any

from radiosync.sim.card import DacRecord
from radiosync.sim.measure import heard
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.world import World
from radiosync.units import NS_PER_MS, NS_PER_S

Write = Callable[[dict[str, Any]], None]


class Recorder:
    """Writes down what a world does."""

    def __init__(self, world: World, write: Write) -> None:
        self._world = world
        self._write = write
        self._told: dict[int, int] = {}
        """How many events of each node have been written."""

    def look(self) -> None:
        """Write down where everybody stands now."""
        world = self._world
        for host in world.hosts:
            self._events(host)
        for node in world.listeners:
            self._events(node)
            if not node.stopped:
                self._write(sample(world, node))

    def _events(self, node: HostNode | ListenerNode) -> None:
        told = self._told.get(id(node), 0)
        for at, event in node.events[told:]:
            self._write({"kind": "event", "t": at / NS_PER_S, "name": node.machine.name, "event": str(event)})
        self._told[id(node)] = len(node.events)


def sample(world: World, node: ListenerNode) -> dict[str, Any]:
    """Return where a listener stands now, by what it knows and by what is true."""
    now = node.machine.clock.local(world.now)
    row: dict[str, Any] = {"kind": "sample", "t": world.now / NS_PER_S, "name": node.machine.name}
    row["state"] = node.session.state(now).name
    stream = node.session.stream
    if stream is None:
        return row
    counters, playout, mapping, host = (
        stream.counters,
        stream.playout,
        stream.clock.mapping(),
        world.host_of(stream.session),
    )
    row |= {
        "buffer_ms": stream.buffered_ns(now) // NS_PER_MS,
        "lost": counters.symbols_lost,
        "repaired": counters.symbols_repaired,
        "nacks": stream.requests.nacks,
        "tier": int(stream.quality.tier),
    }
    if playout is not None:
        row |= {
            "sync_error_ns": round(playout.sync_error_ns),
            "ratio_ppm": round(playout.correction * 1e6, 3),
            "concealed": playout.concealed_frames,
            "resyncs": playout.hard_resyncs,
            "underruns": playout.underruns,
        }
    if host is None:
        return row
    if mapping is not None:
        row["clock_error_ns"] = mapping.host_from_local(now) - host.machine.clock.host(world.now)
        row["clock_bound_ns"] = round(mapping.bound_ns_at(now))
        row["clock_sigma_ns"] = round(mapping.sigma_ns_at(now))
    error_ns = true_error_ns(node, host)
    if error_ns is not None:
        row["true_error_ns"] = error_ns
    return row


def true_error_ns(node: ListenerNode, host: HostNode) -> int | None:
    """Return how late what a listener emitted last was, against its true play-at; None of silence."""
    if node.dac is None:
        sink = node.sinks.get(host.session.session)
        if sink is None or not sink.emitted:
            return None
        frame, at = sink.emitted[-1]
        return at - host.play_at(frame)
    record = node.dac.record
    last = DacRecord(at=record.at[-1:], left=record.left[-1:], right=record.right[-1:])
    late_ns = heard(last, host).late_ns
    return round(float(late_ns[0])) if len(late_ns) else None
