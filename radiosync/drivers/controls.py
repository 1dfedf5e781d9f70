"""Orders from a person, whatever they come by: keys, `ctl`, a web page.

An order may be posted from any thread; the host's loop carries it out in its next turn and answers by a future.
"""

import contextlib
import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from radiosync.drivers.reader import Reader, Source
from radiosync.host.commands import RESTART_S, Command
from radiosync.host.listeners import ListenerRow
from radiosync.host.session import HostSession
from radiosync.timeline import PlayState
from radiosync.units import HostNs

WAITING_MAX = 64  # orders not carried out yet: a person gives one at a time


@dataclass(frozen=True, slots=True)
class _Order:
    command: Command | None
    seconds: float
    answer: "Future[dict[str, Any]]"


class Controls:
    """Carries out orders on a session and its source."""

    def __init__(self, session: HostSession, reader: Reader, source: Source, wake: Callable[[], None]) -> None:
        self._session = session
        self._reader = reader
        self._source = source
        self._wake = wake
        self._orders: queue.Queue[_Order] = queue.Queue(WAITING_MAX)
        self.jumping = False
        self._refusal: str | None = None
        """Why the order being carried out is refused."""

    def post(self, command: Command | None, seconds: float = 0.0) -> "Future[dict[str, Any]]":
        """Give an order, or with None ask for the status; the future's result is the status after it.

        Raises queue.Full where too many wait already.
        """
        answer: Future[dict[str, Any]] = Future()
        self._orders.put_nowait(_Order(command, seconds, answer))
        self._wake()
        return answer

    def key(self, command: Command, seconds: float, now: HostNs) -> None:
        """Carry out what a key stands for: pausing toggles, seeking is relative."""
        if command is Command.PAUSE and not self._session.transport.newest.playing:
            command = Command.RESUME
        heard = self._session.song(now)
        self._do(command, seconds + (heard[1] if heard is not None else 0.0), now)

    def carry_out(self, now: HostNs) -> None:
        """Carry out what has been posted; for the loop's thread."""
        with contextlib.suppress(queue.Empty):
            while True:
                order = self._orders.get_nowait()
                self._refusal = None
                changed = order.command is not None and self._do(order.command, order.seconds, now)
                if order.answer.set_running_or_notify_cancel():
                    order.answer.set_result(self.status(now) | {"changed": changed, "refusal": self._refusal})

    def _do(self, command: Command, seconds: float, now: HostNs) -> bool:
        session = self._session
        match command:
            case Command.PLAY | Command.RESUME:
                return session.resume(now)
            case Command.PAUSE:
                return session.pause(now)
            case Command.NEXT:
                return self._jump(1, 0.0, now)
            case Command.PREV:
                heard = session.song(now)
                return self._jump(0 if heard is not None and heard[1] > RESTART_S else -1, 0.0, now)
            case Command.SEEK:
                return self._jump(0, max(0.0, seconds), now)
            case Command.STOP:
                changed = session.pause(now, state=PlayState.STOPPED)
                return self._jump(0, 0.0, now) or changed
            case Command.RESYNC:
                self._refusal = session.resync(now)
                return self._refusal is None

    def _jump(self, step: int, position_s: float, now: HostNs) -> bool:
        song = self._session.target_song(now)
        if song is None or self._session.live:
            return False
        self._reader.jump(song.song.song_id, step, position_s)
        self.jumping = True
        return True

    def status(self, now: HostNs) -> dict[str, Any]:
        """Return what plays, for whom, and what is to come."""
        session = self._session
        heard = session.song(now)
        preparing = session.transport.preparation is not None
        hold = session.stall.policy.hold
        known = None if heard is None else heard[0].song
        names, current = self._source.queue(known.song_id if known is not None else 0)
        return {
            "state": "starting" if preparing else session.transport.log.at(now).state.name.lower(),
            "song": None
            if heard is None or known is None
            else {
                "title": known.title,
                "artist": known.artist,
                "album": known.album,
                "position_s": round(heard[1], 3),
                "duration_s": None if known.frames is None else round(known.frames / session.format.rate, 3),
            },
            "buffered_s": round(session.buffered_ns(now) / 1e9, 3),
            "buffer_target_s": round(session.buffer.depth.depth_ns / 1e9, 3),
            "buffer_reason": session.buffer.depth.reason,
            "waiting_for": [] if hold is None else [report.name for report in hold.blockers.values()],
            "waiting_s": None if hold is None else round(max(0, hold.until - now) / 1e9, 3),
            "queue": names,
            "current": current,
            "listeners": [listener_values(session, row, now) for row in session.listeners],
        }


def listener_values(session: HostSession, row: ListenerRow, now: HostNs) -> dict[str, Any]:
    """Return what is known of a listener, for a status and for the statistics."""
    return {
        "name": row.report.name,
        "address": f"{row.address[0]}:{row.address[1]}",
        "status": session.listeners.status(row, now).value,
        "state": row.report.state.name.lower(),
        "tier": row.report.tier,
        "copied": row.address in session.copies,
        "latency_ms": round(row.average_ns / 1e6, 3),
        "latency_samples_ms": [round(s / 1e6, 3) for s in row.samples_ns],
        "down_ms": round(row.report.down_ns / 1e6, 3),
        "up_ms": round(row.report.up_ns / 1e6, 3),
        "echo_ms": round(row.echo_ns / 1e6, 3),
        "sync_error_ns": row.report.sync_error_ns,
        "out_of_sync": session.watch.out_of_sync(row.address),
        "probation_s": round(session.stall.policy.probation_ns(row.report.listener_id, now) / 1e9, 3),
        "rate_ppm": round(row.report.rate_ppb / 1e3, 3),
        "buffer_s": row.report.buffer_ms / 1e3,
        "jitter_ms": row.report.jitter_us / 1e3,
        "symbols_lost": row.report.symbols_lost,
        "symbols_repaired": row.report.symbols_repaired,
        "chunks_concealed": row.report.chunks_concealed,
        "underruns": row.report.underruns,
        "hard_resyncs": row.report.hard_resyncs,
        "last_heard_s": round((now - row.last_heard_at) / 1e9, 3),
    }
