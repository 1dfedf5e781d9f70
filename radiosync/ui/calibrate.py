"""Calibration: how much earlier or later each listener's sound arrives where the microphone is, and what cures that.

This program hosts a session of its own, whose music is a test signal.  It waits until listeners have come, gives each
stretches of the stream in which it alone is heard, and writes down which.  From a recording of that, made by a
telephone or by an input of this machine, `audio/arrivals.py` finds when each sound arrived.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from radiosync.audio.arrivals import Findings, find_arrivals, reference_delay_s
from radiosync.audio.probe import LISTENERS_MAX, ROUNDS_MAX, ROUNDS_MIN, Plan, make_plan
from radiosync.config import Config
from radiosync.drivers.calibration import (
    Calibration,
    CalibrationSource,
    Mono,
    Recorder,
    default_plan_path,
    read_calibration,
    read_recording,
    write_calibration,
)
from radiosync.drivers.host_driver import HostDriver
from radiosync.drivers.interfaces import Interface
from radiosync.errors import ConfigError, RadiosyncError, RecordingError
from radiosync.host.events import Finished, HostEvent, ListenerLeft, SourceLate
from radiosync.host.listeners import ListenerRow, Status
from radiosync.ui import console
from radiosync.ui.host_lines import host_line
from radiosync.units import NS_PER_S, HostNs, MediaFrame
from radiosync.wire.messages import ListenerState, SoloEntry

Say = Callable[[str], None]

GATHER_NS = 6 * NS_PER_S  # without a newcomer: a listener that is running finds a host within two
PATIENCE_NS = 60 * NS_PER_S  # for the first one
MS_PER_METRE = 2.9  # at 20 °C
SURE_MS = 0.1  # below this nothing is worth changing: a step of the head is more


class CalibrationError(RadiosyncError):
    """The calibration could not be played to its end."""


def run_calibration(
    settings: Config, place: Interface, name: str, rounds: int, plan_path: Path, device: str | None, say: Say
) -> bool:
    """Play a calibration and write its plan; with `device`, record it too, and tell what it says.

    Return whether all is well.  Raises UserError or CalibrationError where it can't be done.
    """
    if not ROUNDS_MIN <= rounds <= ROUNDS_MAX:
        raise ConfigError(f"--rounds {rounds}: must be {ROUNDS_MIN} to {ROUNDS_MAX}")
    recorder = None if device is None else Recorder(device, console.warn)
    try:
        settings = replace(settings, host=replace(settings.host, control=""))  # nobody is to skip or pause this
        player = _Player(settings, place, name, rounds, recorder, say)
        calibration = player.play()
        write_calibration(plan_path, calibration)
        if recorder is None:
            say(f"played; who played when is written in {plan_path}")
            extra = "" if plan_path == default_plan_path() else f" --plan {plan_path}"
            say(f"now, with the recording on this computer: radiosync calibrate --recording FILE{extra}")
            return True
        rate, recording = recorder.format.rate, recorder.end()
    finally:
        if recorder is not None:
            recorder.close()
    return tell(calibration, _findings("the recording", recording, rate, calibration), say)


def analyse_recording(path: Path, plan_path: Path, say: Say) -> bool:
    """Tell what a recording of the last calibration says; return whether all listeners were measured."""
    calibration = read_calibration(plan_path)
    recording, rate = read_recording(path)
    return tell(calibration, _findings(str(path), recording, rate, calibration), say)


def _findings(name: str, recording: Mono, rate: int, calibration: Calibration) -> Findings:
    try:
        return find_arrivals(recording, rate, calibration.plan, len(calibration.names))
    except RecordingError as error:
        raise RecordingError(f"{name}: {error}") from None


class _Player:
    """Hosts the session: gathers listeners, gives them their turns, and plays."""

    def __init__(
        self, settings: Config, place: Interface, name: str, rounds: int, recorder: Recorder | None, say: Say
    ) -> None:
        self._source = CalibrationSource()
        self._driver = HostDriver(settings, self._source, (place,), name, None, heeds_keys=False)
        self._rounds = rounds
        self._recorder = recorder
        self._say = say
        self._began_at: HostNs | None = None
        self._changed_at = HostNs(0)
        self._ids: set[int] = set()
        self._finished = False
        self._calibration: Calibration | None = None

    def play(self) -> Calibration:
        """Return what was played, once it has been played to its end."""
        self._say("waiting for listeners; on every computer with loudspeakers: radiosync listen")
        self._driver.run(self._note, None, self._gather)
        if self._calibration is None or not self._finished:
            raise CalibrationError("stopped before the end; nothing was measured")
        return self._calibration

    def _note(self, event: HostEvent) -> None:
        if isinstance(event, SourceLate):
            raise CalibrationError("this computer was too busy to play without a gap; try once more")
        if isinstance(event, ListenerLeft) and self._calibration is not None:
            console.warn(f"{event.name} has left; it will not be heard")
        elif not isinstance(event, Finished):
            self._say(host_line(event))
        self._finished = self._finished or isinstance(event, Finished)

    def _gather(self, now: HostNs) -> None:
        """Begin once everybody has come and knows the clock."""
        if self._calibration is not None:
            return
        self._began_at = now if self._began_at is None else self._began_at
        session = self._driver.session
        rows = [row for row in session.listeners if session.listeners.status(row, now) is not Status.TIMEOUT]
        if {row.report.listener_id for row in rows} != self._ids:
            self._ids = {row.report.listener_id for row in rows}
            self._changed_at = now
        if not rows:
            if now - self._began_at > PATIENCE_NS:
                raise CalibrationError("nobody listens; start radiosync listen in the rooms, on the same network")
            return
        settled = all(row.report.state not in (ListenerState.WAITING, ListenerState.SYNCING) for row in rows)
        waited_ns = now - self._changed_at
        if waited_ns > 2 * GATHER_NS or (settled and waited_ns > GATHER_NS):
            self._begin(sorted(rows, key=lambda row: row.report.name)[:LISTENERS_MAX], now)

    def _begin(self, rows: list[ListenerRow], now: HostNs) -> None:
        plan = make_plan(len(rows), self._rounds)
        offsets_ms = tuple(row.report.offset_us / 1000 for row in rows)
        self._calibration = Calibration(plan=plan, names=_names(rows), offsets_ms=offsets_ms)
        session = self._driver.session
        session.announcer.solos = solos_of(plan, [row.report.listener_id for row in rows])
        session.announcer.hurry(now)
        session.transport.wait_anew(now)
        if self._recorder is not None:
            self._recorder.begin()
        else:
            self._say("start recording NOW, with the microphone where you listen, and don't touch it until the end")
        self._say(f"playing to {', '.join(self._calibration.names)}: {plan.frames / plan.rate:.0f} s")
        self._source.begin(plan)


def solos_of(plan: Plan, listener_ids: list[int]) -> tuple[SoloEntry, ...]:
    """Return the stretches that the listeners play alone; the plan begins with the session's first frame."""
    return tuple(
        SoloEntry(
            listener_id=0 if turn.listener is None else listener_ids[turn.listener],
            first_frame=MediaFrame(turn.frame),
            frames=plan.turn_frames,
        )
        for turn in plan.turns
    )


def _names(rows: list[ListenerRow]) -> tuple[str, ...]:
    """Return what to call each, also where two have the same name."""
    names: list[str] = []
    for row in rows:
        same = sum(1 for other in names if other.partition(" (")[0] == row.report.name)
        names.append(f"{row.report.name} ({row.address[0]})" if same else row.report.name)
    return tuple(names)


def tell(calibration: Calibration, findings: Findings, say: Say) -> bool:
    """Print the table, and what to do; return whether everybody was measured."""
    if findings.clipped:
        console.warn("the recording clips; what follows holds, but record more softly next time")
    names, arrivals = calibration.names, findings.arrivals
    if findings.out_of_turn:
        who = ", ".join(names[number] for number in findings.intruders) or "somebody"
        say(f"{who} played in turns that were others': nothing can be said; is it of the same version of radiosync?")
        return False
    good = [number for number, arrival in enumerate(arrivals) if arrival.fault is None]
    earliest_s = min((arrivals[number].delay_s for number in good), default=0.0)
    reference_s = reference_delay_s([arrivals[number].delay_s for number in good]) if good else 0.0
    width = max(len("listener"), *(len(name) for name in names))
    say(f"{'listener':<{width}}  {'arrives':>11}  {'spread':>8}  {'signal/noise':>12}  {'turns':>6}  --offset-ms")
    for number, (name, arrival) in enumerate(zip(names, arrivals, strict=True)):
        turns = f"{arrival.heard}/{arrival.recorded}"
        if number not in good:
            say(f"{name:<{width}}  {'':>11}  {'':>8}  {arrival.snr_db:>9.0f} dB  {turns:>6}  ({arrival.fault})")
            continue
        now_ms = calibration.offsets_ms[number]
        change_ms = (reference_s - arrival.delay_s) * 1000
        cure = (
            f"{round(now_ms + change_ms, 2) + 0.0:.2f} instead of {now_ms:g}"
            if abs(change_ms) > SURE_MS
            else f"{now_ms:g}, as it is"
        )
        after_ms, spread_ms = (arrival.delay_s - earliest_s) * 1000, arrival.spread_s * 1000
        figures = f"{after_ms:>+8.2f} ms  {spread_ms:>5.2f} ms  {arrival.snr_db:>9.0f} dB  {turns:>6}"
        say(f"{name:<{width}}  {figures}  {cure}")
    say(
        f"with these all arrive together where the microphone was; a metre nearer to one of them is {MS_PER_METRE} ms "
        f"(the recorder runs {(findings.speed - 1) * 1e6:+.0f} ppm off)"
    )
    return len(good) == len(names)
