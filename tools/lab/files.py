"""What listeners wrote that play into files: where in the signal it begins, and whether it is that, bit for bit."""

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
BEGIN_FRAMES = 4096  # that say where in the signal a recording begins
BLOCK_FRAMES = 1 << 20
WAV_HEADER_BYTES = 44
Json = dict[str, Any]


def frames(path: Path) -> NDArray[Any]:
    """Return a stereo file of 16 bits as a map of (frames, channels)."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (2, 2, RATE):
            raise ValueError(f"{path.name} is not in the signal's format")
    samples = np.memmap(path, "<i2", "r", WAV_HEADER_BYTES)
    return samples[: len(samples) // 2 * 2].reshape(-1, 2)


def place(heard: NDArray[Any], signal: NDArray[Any]) -> int | None:
    """Return the frame of the signal with which what was heard begins, or None if that is nowhere in it."""
    begin = np.ascontiguousarray(heard[:BEGIN_FRAMES]).tobytes()
    step = BLOCK_FRAMES
    for at in range(0, len(signal), step):
        found = np.ascontiguousarray(signal[at : at + step + BEGIN_FRAMES]).tobytes().find(begin)
        if found >= 0 and found % 4 == 0:
            return at + found // 4
    return None


def compare(heard: NDArray[Any], signal: NDArray[Any]) -> Json:
    """Return how much was heard, where it begins, and how many of its frames are not the signal's, and silent."""
    values: Json = {"frames": len(heard), "begins_at": place(heard, signal) if len(heard) >= BEGIN_FRAMES else None}
    if values["begins_at"] is None:
        return values | {"different": len(heard), "silent": int((heard == 0).all(axis=1).sum())}
    wanted = signal[values["begins_at"] : values["begins_at"] + len(heard)]
    different = (heard[: len(wanted)] != wanted).any(axis=1)
    silent = different & (heard[: len(wanted)] == 0).all(axis=1)
    beyond = len(heard) - len(wanted)
    return values | {"different": int(different.sum()) + beyond, "silent": int(silent.sum())}


def report(run: Path) -> Json:
    """Return what the listeners of a run wrote, and which tier of quality each says it had, in order."""
    meta = json.loads((run / "run.json").read_text())
    signal, listeners = frames(run / "signal.wav"), []
    for i, rows in enumerate(meta["stats"]):
        values = compare(frames(run / f"listener{i}-0.wav"), signal)
        values["tiers"] = [row["tier"] for k, row in enumerate(rows) if "tier" in row and _is_new(rows, k)]
        listeners.append(values)
    keys = ("label", "system", "resources", "machine", "events", "died")
    return {key: meta[key] for key in keys} | {"listeners": listeners}


def _is_new(rows: list[Json], k: int) -> bool:
    return k == 0 or rows[k]["tier"] != rows[k - 1].get("tier")
