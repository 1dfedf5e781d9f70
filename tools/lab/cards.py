"""Builds the virtual sound card and the skewed clock, sets a card up for a listener, and reads what it played."""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lan import LabError
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "lab"
ALSA_CONF = Path("/usr/share/alsa/alsa.conf")
FLAGS = ["-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-DPIC"]
LIBRARIES = {"card": ["-lasound", "-lm"], "skew": ["-ldl"]}


def library(name: str) -> Path:
    """Return the built card ("card") or clock ("skew"), building it where it is missing or old."""
    source, built = HERE / f"{name}.c", BUILD / f"{name}.so"
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return built
    BUILD.mkdir(parents=True, exist_ok=True)
    if shutil.which("gcc") is None:
        raise LabError("gcc is missing: apt-get install gcc libasound2-dev")
    fresh = built.with_suffix(".new")
    done = subprocess.run(
        ["gcc", *FLAGS, "-o", str(fresh), str(source), *LIBRARIES[name]], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"{source.name} can't be built (apt-get install gcc libasound2-dev): {done.stderr.strip()}")
    fresh.replace(built)
    return built


def set_up(prefix: Path, ppm: float, step: int = 1, sound: Path | None = None) -> dict[str, str]:
    """Make a card that records to PREFIX.s16 and .jsonl; return the environment in which it is the only one.

    It can be captured from where there is a `sound` for its converter: mono PCM of 16 bits.
    """
    capture = "" if sound is None else f'in "{sound}" '
    conf = prefix.with_name(prefix.name + ".asound.conf")
    conf.write_text(
        f"<{ALSA_CONF}>\n"
        f'pcm_type.lab {{ lib "{library("card")}" }}\n'
        f'pcm.!default {{ type lab out "{prefix}" ppm {float(ppm)} step {step} {capture}\n'
        f'  hint {{ show on description "virtual card of the lab" }} }}\n'
        f"ctl.!default {{ type hw card 0 }}\n"
    )
    return {"ALSA_CONFIG_PATH": str(conf)}


@dataclass(frozen=True)
class Segment:
    """Frames without interruption: frame n left the card at start_ns + n / rate."""

    start_ns: int
    rate: float
    samples: NDArray[Any]

    def frame_at(self, at_ns: float) -> int:
        """Return the first frame that leaves at `at_ns` or later."""
        return int(np.ceil((at_ns - self.start_ns) * 1e-9 * self.rate))

    def time_of(self, frame: float) -> float:
        """Return when a frame left, in ns."""
        return self.start_ns + frame / self.rate * 1e9


@dataclass
class Recording:
    """What one card played."""

    segments: list[Segment] = field(default_factory=list)
    underruns_ns: list[int] = field(default_factory=list)


def read(prefix: Path) -> Recording:
    """Read a card's log and store; a card that was never opened has an empty recording."""
    recording = Recording()
    log, store = prefix.with_name(prefix.name + ".jsonl"), prefix.with_name(prefix.name + ".s16")
    if not log.exists() or not store.exists() or store.stat().st_size == 0:
        return recording
    samples = np.memmap(store, "<i2", "r")
    rate = 0.0
    start: dict[str, Any] | None = None

    def finish(start: dict[str, Any] | None, frames: int) -> None:
        if start is not None and frames > 0:
            piece = samples[start["first"] : start["first"] + frames]
            recording.segments.append(Segment(start["t"], rate, piece))

    for line in log.read_text().splitlines():
        event = json.loads(line)
        match event["event"]:
            case "params":
                rate = event["true_rate"]
            case "start":
                start = event
            case "underrun":
                recording.underruns_ns.append(event["t"])
                finish(start, event["given"])
                start = None
            case "stop" | "close":
                finish(start, min(event["played"], event["given"]))
                start = None
            case "open":  # after a process that was killed
                finish(start, event["first"] - (start["first"] if start is not None else 0))
                start = None
    finish(start, len(samples) - (start["first"] if start is not None else 0))
    return recording
