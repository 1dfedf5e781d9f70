"""No queue is longer than its owner promises."""

from radiosync.host.listeners import LISTENERS_MAX
from radiosync.listener.jitter import CHUNKS_MAX
from radiosync.repair.request import WANTS_MAX
from radiosync.sim.checkers.base import Checker
from radiosync.sim.nodes import HostNode
from radiosync.units import NS_PER_S

SHORT_CHUNKS = 2  # a song's last chunk is shorter, and while lengths change both are there


class QueueChecker(Checker):
    """Looks at the lengths of everything that grows."""

    def look(self) -> None:
        """Compare each with its limit."""
        for node in self.world.listeners:
            stream, name = node.session.stream, node.machine.name
            if not node.stopped and stream is not None:
                self._at_most(name, "chunks buffered", len(stream.buffer), min(stream.buffer.chunks_max, CHUNKS_MAX))
                self._at_most(name, "chunks asked for", len(stream.requests), WANTS_MAX)
        for host in self.world.hosts:
            if not host.ended:
                self._host(host)

    def _host(self, host: HostNode) -> None:
        session, name, sync = host.session, host.machine.name, host.machine.config.radio_sync
        self._at_most(name, "listeners", len(session.listeners), LISTENERS_MAX)
        # What was sent ahead of a pause stays until it is played.
        kept_ns = sync.buffer_max_ns(live=session.live) + host.machine.config.host.linger_ns + NS_PER_S
        chunks = SHORT_CHUNKS * (kept_ns // sync.chunk_ns_at(sync.buffer_ns) + 2)
        self._at_most(name, "chunks of history", len(session.sender.history), chunks)

    def _at_most(self, name: str, what: str, count: int, most: int) -> None:
        if count > most:
            self.complain(f"{name}: {count} {what}, more than {most}")
