"""What a calibration has to do with the machine: the source that plays it, the file with its plan, the recording."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.audio.pcm import float_from_samples
from radiosync.audio.probe import FORMAT, LISTENERS_MAX, Plan, Turn, play
from radiosync.audio.song import Song, SourceBlock
from radiosync.drivers.capture_source import CaptureSource
from radiosync.drivers.memory_file import state_folder
from radiosync.drivers.song_file import SongFile
from radiosync.errors import RecordingError

VERSION = 1
FILE_NAME = "calibration.json"
BYTES_MAX = 1 << 20  # a plan of the most listeners in the most rounds takes a twentieth
RECORDING_S_MAX = 900  # half a gigabyte while it is read; the longest plan takes nine minutes, the usual one a minute

Mono = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A plan with the names of its listeners, and how much later each was told to play meanwhile."""

    plan: Plan
    names: tuple[str, ...]
    offsets_ms: tuple[float, ...]


class CalibrationSource:
    """Plays a plan, once there is one: until then it keeps its reader waiting, and listeners have time to come."""

    format = FORMAT
    live = False

    def __init__(self) -> None:
        self._go = threading.Event()
        self._samples: Samples = FORMAT.silence(0)
        self._at = 0
        self._song = Song(song_id=1, title="calibration")

    def begin(self, plan: Plan) -> None:
        """Play `plan` from now on; from another thread."""
        self._samples = play(plan)
        self._go.set()

    def read(self, frames_max: int) -> SourceBlock | None:
        """Return the next frames, once there is a plan; None at the end."""
        self._go.wait()
        at, self._at = self._at, min(self._at + frames_max, len(self._samples))
        if at == self._at:
            return None
        return SourceBlock(song=self._song, song_frame=at, samples=self._samples[at : self._at])

    def jump(self, song_id: int, step: int, position_s: float) -> None:  # Source.jump
        """Do nothing: nobody can ask for it."""

    def queue(self, song_id: int) -> tuple[list[str], int | None]:  # noqa: ARG002  # Source.queue
        """Return the one name there is."""
        return [self._song.title], 0

    def stats(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def interrupt(self) -> None:
        """Make a read that waits come back; for another thread."""
        self._go.set()

    def close(self) -> None:
        """Let go of nothing."""


class Recorder:
    """Records from a sound device, in a thread, from `begin` to `end`.

    Raises DeviceError where the device can't be captured from.
    """

    def __init__(self, device: str, warn: Callable[[str], None]) -> None:
        self._source = CaptureSource(device, None, 1, SampleFormat.F32, warn)
        self._wanted = threading.Event()
        self._blocks: list[Samples] = []  # of a plan's length, which is bounded
        self._lost_before: list[Any] = []
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def format(self) -> AudioFormat:
        """What is recorded."""
        return self._source.format

    def begin(self) -> None:
        """Keep what comes from now on."""
        self._lost_before = self._lost()
        self._wanted.set()

    def end(self) -> Mono:
        """Stop, and return what has come.

        Raises RecordingError where something was lost on the way.
        """
        lost = self._lost() != self._lost_before
        self.close()
        if lost:
            raise RecordingError("the recording has gaps, as the device's data were not taken in time; try once more")
        blocks = [block[:, 0] for block in self._blocks]
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)

    def close(self) -> None:
        """Let go of the device."""
        self._source.interrupt()
        self._thread.join()
        self._source.close()

    def _lost(self) -> list[Any]:
        stats = self._source.stats()
        names = ("source_xruns", "source_overflow_frames", "source_stale_frames", "source_reopened")
        return [stats[name] for name in names]

    def _run(self) -> None:
        while (block := self._source.read(1 << 16)) is not None:
            if self._wanted.is_set():
                self._blocks.append(block.samples)


def default_plan_path() -> Path:
    """Return where the plan of the last calibration lies."""
    return state_folder() / FILE_NAME


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write who played when.

    Raises RecordingError where that can't be done.
    """
    plan, names = calibration.plan, calibration.names
    listeners = [
        {"name": name, "offset_ms": offset} for name, offset in zip(names, calibration.offsets_ms, strict=True)
    ]
    values = {
        "version": VERSION,
        "rate": plan.rate,
        "frames": plan.frames,
        "turn_frames": plan.turn_frames,
        "markers": plan.markers,
        "turns": [{"frame": turn.frame, "listener": turn.listener} for turn in plan.turns],
        "listeners": listeners,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise RecordingError(f"{path}: can't write the plan: {error.strerror}; name another place by --plan") from None


def read_calibration(path: Path) -> Calibration:
    """Return what `write_calibration` wrote.

    Raises RecordingError where it isn't that.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RecordingError(
            f"{path}: no plan of a calibration there ({error.strerror}); play one first, by radiosync calibrate"
        ) from None
    try:
        if len(raw) > BYTES_MAX:
            raise ValueError
        values = json.loads(raw)
        listeners = values["listeners"]
        calibration = Calibration(
            plan=Plan(
                rate=int(values["rate"]),
                turn_frames=int(values["turn_frames"]),
                markers=tuple(int(frame) for frame in values["markers"]),
                turns=tuple(
                    Turn(int(turn["frame"]), None if turn["listener"] is None else int(turn["listener"]))
                    for turn in values["turns"]
                ),
                frames=int(values["frames"]),
            ),
            names=tuple(str(each["name"]) for each in listeners),
            offsets_ms=tuple(float(each["offset_ms"]) for each in listeners),
        )
        plan, known = calibration.plan, range(len(calibration.names))
        sound = all(turn.listener is None or turn.listener in known for turn in plan.turns) and plan.markers
        if values["version"] != VERSION or plan.rate <= 0 or not sound or len(known) > LISTENERS_MAX:
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise RecordingError(f"{path}: is no plan of a calibration; play one by radiosync calibrate") from None
    return calibration


def read_recording(path: Path) -> tuple[Mono, int]:
    """Return the loudest channel of a sound file, with a full scale of 1, and its rate.

    One channel, since two microphones of a telephone stand 0.4 ms apart.  Raises SourceError or RecordingError where
    the file can't be used.
    """
    file = SongFile(path)
    try:
        blocks, frames = [], 0
        while len(block := file.read()):
            blocks.append(block if block.dtype.kind == "f" else float_from_samples(block, file.kind.sample))
            frames += len(block)
            if frames > RECORDING_S_MAX * file.rate:
                raise RecordingError(f"{path}: is longer than {RECORDING_S_MAX // 60} minutes; cut out the calibration")
        rate = file.rate
    finally:
        file.close()
    whole = np.nan_to_num(np.concatenate(blocks).astype(np.float32))
    loudest = int(np.argmax(np.sum(np.square(whole, dtype=np.float64), axis=0)))
    return np.ascontiguousarray(whole[:, loudest]), rate
