"""The transport: play, pause, jump, stop, as records of the timeline.

Playing starts in two steps.  A start is first prepared: everybody is told the frame and gets the audio, and says when
it is ready; then the coordinator's verdict makes a record, effective a moment later.  Until a record takes effect what
was playing goes on, so that a skip is a cut and not a hole.  Pausing needs no preparation.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

from radiosync.host.coordinator import (
    JUMP_WAIT_NS,
    START_WAIT_NS,
    SYNC_MARGIN_NS,
    OptimalSync,
    Preparation,
    Verdict,
    calculate_optimal_sync,
    judge,
)
from radiosync.host.listeners import ListenerRow
from radiosync.timeline import PlayState, Timeline, TimelineLog
from radiosync.units import NS_PER_S, HostNs, MediaFrame


class Transport:
    """Keeps the timeline of a host's session.

    Something live waits for nobody, since what is not sent is gone: it starts at once, and is heard `live_delay_ns`
    after it was read.
    """

    def __init__(self, rate: int, start_lead_ns: int, now: HostNs, *, live_delay_ns: int | None = None) -> None:
        self._rate = rate
        self.live_delay_ns = live_delay_ns or 0
        """How much later than it was read something live is heard; 0 for what can be read ahead."""
        live = live_delay_ns is not None
        first = Timeline(version=1, epoch=1, state=PlayState.STOPPED, media_frame=MediaFrame(0), effective_at=now)
        self.log = TimelineLog(first)
        self._due: tuple[HostNs, Timeline, MediaFrame] = (now, first, MediaFrame(0))
        """The frame that was due when, by which newest record."""
        self.begin_frame = MediaFrame(0)
        """Where what the newest record says was first said: a resync repeats it further on."""
        self.preparation: Preparation | None = Preparation(
            target_frame=MediaFrame(0),
            epoch=1,
            began_at=now,
            wait_ns=0 if live else START_WAIT_NS,
            lead_ns=0 if live else start_lead_ns,
        )

    def restore(
        self,
        records: Sequence[Timeline],
        begin_frame: MediaFrame,
        preparing: tuple[MediaFrame, int] | None,
        now: HostNs,
    ) -> None:
        """Go on with a timeline that was made before: `preparing` are target and epoch of a start to come."""
        self.log = TimelineLog(records[0])
        for record in records[1:]:
            self.log.add(record)
        self.begin_frame = begin_frame
        self.preparation = None
        if preparing is not None:
            self._prepare(*preparing, now)

    @property
    def newest(self) -> Timeline:
        """The record made last."""
        return self.log.newest

    @property
    def epoch(self) -> int:
        """The epoch that audio is being sent for."""
        return self.newest.epoch if self.preparation is None else self.preparation.epoch

    def due_frame(self, now: HostNs) -> MediaFrame:
        """Return the frame that is due, or where playing would go on."""
        newest, (at, by, frame) = self.log.newest, self._due
        if at != now or by is not newest:  # a turn of the loop asks many times
            frame = self.log.frame_at(now, self._rate)
            self._due = now, newest, frame
        return frame

    def horizon(self, now: HostNs) -> MediaFrame:
        """Return the frame from which it is counted how far ahead audio lies.

        Where a start or a stop is to come, that is the frame that it is at: what lies before it needs no more audio.
        """
        ahead = self.begin_frame if self.preparation is None else self.preparation.target_frame
        return max(self.due_frame(now), ahead)

    @property
    def horizon_moves(self) -> bool:
        """Whether the newest record plays and nothing is being prepared."""
        return self.preparation is None and self.log.newest.playing

    def horizon_reaches(self, frame: MediaFrame) -> HostNs | None:
        """Return when the horizon will be at `frame`, if it is not there yet; None while nothing moves it."""
        return self.newest.play_at(frame, self._rate) if self.horizon_moves else None

    def unreachable_frame(self, delay_ns: int, now: HostNs) -> MediaFrame:
        """Return the first frame that a jump made now, with the order `delay_ns` before it, can go to.

        What plays goes on until then; in an epoch that ends nothing may be heard of the one that follows.
        """
        newest = self.newest
        if not newest.playing:
            return newest.media_frame
        at = HostNs(now + JUMP_WAIT_NS + 2 * max(delay_ns, self.live_delay_ns) + SYNC_MARGIN_NS)
        return max(newest.media_frame, newest.frame_at(at, self._rate))

    def play_at(self, frame: MediaFrame, now: HostNs) -> HostNs:
        """Return when `frame` will be due; while nothing plays, as if playing began now."""
        if self.preparation is not None and frame >= self.preparation.target_frame:
            begin = Timeline(
                version=0,
                epoch=self.preparation.epoch,
                state=PlayState.PLAYING,
                media_frame=self.preparation.target_frame,
                effective_at=now,
            )
            return begin.play_at(frame, self._rate)
        newest = self.newest
        if newest.playing:
            return newest.play_at(frame, self._rate)
        return HostNs(newest.play_at(frame, self._rate) - newest.effective_at + now)

    def decide(
        self, listeners: Sequence[ListenerRow], now: HostNs, *, expects: bool = False
    ) -> tuple[Verdict, OptimalSync] | None:
        """Judge the start that is being prepared, if one is; with a verdict to go, make its record."""
        if self.preparation is None:
            return None
        sync = calculate_optimal_sync(listeners)
        verdict = judge(self.preparation, listeners, sync.delay_ns, now, expects=expects)
        if verdict.go:
            prepared, self.preparation = self.preparation, None
            self._record(
                PlayState.PLAYING,
                prepared.target_frame,
                prepared.epoch,
                HostNs(now + max(sync.delay_ns, self.live_delay_ns)),
            )
        return verdict, sync

    def pause(self, delay_ns: int, now: HostNs, *, state: PlayState = PlayState.PAUSED) -> bool:
        """Stop playing a moment from now; say whether anything changed."""
        prepared, self.preparation = self.preparation, None
        at = HostNs(max(now + delay_ns, self.newest.effective_at))
        if prepared is not None:
            self._record(state, prepared.target_frame, prepared.epoch, at)
            return True
        if not self.newest.playing:
            if state is self.newest.state or state is PlayState.PAUSED:
                return False
            self._record(state, self.newest.media_frame, self.newest.epoch, at)  # a stop while paused
            return True
        self._record(state, self.newest.frame_at(at, self._rate), self.newest.epoch, at)
        return True

    def resume(self, now: HostNs) -> bool:
        """Prepare to go on where playing was stopped; say whether anything changed."""
        if self.newest.playing or self.preparation is not None:
            return False
        self._prepare(self.newest.media_frame, self.newest.epoch, now)
        return True

    def resync(self, delay_ns: int, now: HostNs) -> bool:
        """Make everybody enter anew, at the frame where they should be a moment from now; say whether anything plays.

        The frame is one whose play-at is a whole number of ns, at the usual rates at most 40 ms later: so the record
        says to the nanosecond what its predecessor says, however often that is done.
        """
        newest = self.newest
        if not newest.playing or self.preparation is not None:
            return False
        step = self._rate // gcd(self._rate, NS_PER_S)
        ahead = newest.frame_at(HostNs(max(now + delay_ns, newest.effective_at)), self._rate) - newest.media_frame
        frame = MediaFrame(newest.media_frame + -(-ahead // step) * step)
        begin_frame = self.begin_frame
        self._record(newest.state, frame, newest.epoch, newest.play_at(frame, self._rate))
        self.begin_frame = begin_frame
        return True

    def wait_anew(self, now: HostNs) -> None:
        """Wait for listeners from now on, as long as ever, where a start is being prepared that had nothing to play."""
        if self.preparation is not None:
            self.preparation = replace(self.preparation, began_at=now)

    def begin_epoch(self, frame: MediaFrame, now: HostNs) -> None:
        """Go on at `frame`, which nobody has used, in a new epoch: at once if something plays, else when resumed."""
        epoch = self.epoch + 1
        if self.newest.playing or self.preparation is not None:
            self._prepare(frame, epoch, now)
        else:
            self._record(self.newest.state, frame, epoch, HostNs(max(now, self.newest.effective_at)))

    def _prepare(self, frame: MediaFrame, epoch: int, now: HostNs) -> None:
        self.preparation = Preparation(target_frame=frame, epoch=epoch, began_at=now, wait_ns=JUMP_WAIT_NS, lead_ns=0)

    def _record(self, state: PlayState, frame: MediaFrame, epoch: int, at: HostNs) -> None:
        self.begin_frame = frame
        self.log.add(
            Timeline(
                version=self.newest.version + 1,
                epoch=epoch,
                state=state,
                media_frame=frame,
                effective_at=HostNs(max(at, self.newest.effective_at)),
            )
        )
