"""Measures resamplers for a playout whose ratio never stands still: THD+N, processor time, input held back.

    python tools/bench_resampler.py
    python -m pip install samplerate   for libsamplerate beside it

Every engine turns 48 kHz stereo into itself at +100 and at -100 ppm, in blocks of 100 ms with the ratio set before
each, as the playout does.  THD+N is what is left of a sine of -6 dBFS once the sine that should have come out is
fitted and taken away, over 4 s after the first two.  Processor time is of one core, in percent of real time, for noise.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.drift import DriftResampler
from radiosync.audio.resampler import VariableResampler

RATE = 48_000
BLOCK = 4800
SECONDS = 8.0
SKIPPED_S, JUDGED_S = 2.0, 4.0
AMPLITUDE = 0.5
TONES_HZ = (100.0, 997.0, 15_000.0)
PPM = (100.0, -100.0)
RUNS = 3
Floats = NDArray[np.float64]
Engine = Callable[[NDArray[np.float32], float], tuple[NDArray[np.float32], int]]


def ours(make: Callable[[int], DriftResampler | VariableResampler]) -> Engine:
    """Return the engine of one of our resamplers."""

    def run(sound: NDArray[np.float32], ratio: float) -> tuple[NDArray[np.float32], int]:
        engine = make(sound.shape[1])
        engine.reset(1000.0)
        blocks, ahead = [], 0.0

        def read(count: int) -> NDArray[np.float32]:
            begin = engine.next_input_frame
            return sound[begin : begin + count]

        while engine.position + 4 * BLOCK < len(sound):
            engine.set_ratio(ratio)
            blocks.append(engine.pull(BLOCK, read))
            ahead = max(ahead, engine.frames_ahead)
        return np.concatenate(blocks), round(ahead)

    return run


def linear(sound: NDArray[np.float32], ratio: float) -> tuple[NDArray[np.float32], int]:
    """Return what straight lines between the samples make of it: what it costs to do it badly."""
    blocks, position = [], 0.0
    while position + 2 * BLOCK < len(sound):
        at = position + np.arange(BLOCK) * ratio
        whole = at.astype(np.int64)
        part = (at - whole)[:, None].astype(np.float32)
        blocks.append(sound[whole] * (1 - part) + sound[whole + 1] * part)
        position += BLOCK * ratio
    return np.concatenate(blocks), 1


def libsamplerate(converter: str) -> Engine:
    """Return libsamplerate's engine with one of its converters; raises ImportError where it is not installed."""
    import samplerate  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    def run(sound: NDArray[np.float32], ratio: float) -> tuple[NDArray[np.float32], int]:
        engine: Any = samplerate.Resampler(converter, channels=sound.shape[1])
        blocks, held, given, taken = [], 0, 0, 0
        for begin in range(0, len(sound) - BLOCK, BLOCK):
            blocks.append(engine.process(sound[begin : begin + BLOCK], 1 / ratio))
            given, taken = given + BLOCK, taken + len(blocks[-1])
            held = max(held, given - round(taken * ratio))
        return np.concatenate(blocks), held

    return run


def thd_n_db(engine: Engine, hz: float, ppm: float) -> float:
    """Return THD+N in dB relative to the tone."""
    t = np.arange(round(SECONDS * RATE)) / RATE
    sound = np.repeat((AMPLITUDE * np.sin(2 * np.pi * hz * t)).astype(np.float32)[:, None], 2, axis=1)
    out = engine(sound, 1 + ppm * 1e-6)[0][:, 0].astype(np.float64)
    begin = round(SKIPPED_S * RATE)
    judged = out[begin : begin + round(JUDGED_S * RATE)]
    # Some engines round the ratio, so the frequency is fitted too: one Gauss-Newton step is plenty for 1e-9.
    omega = 2 * np.pi * hz * (1 + ppm * 1e-6) / RATE
    n = np.arange(len(judged)) - len(judged) / 2
    for _ in range(3):
        basis = np.column_stack((np.cos(omega * n), np.sin(omega * n)))
        (a, b), *_ = np.linalg.lstsq(basis, judged, rcond=None)
        slope = n * (b * basis[:, 0] - a * basis[:, 1])
        rest = judged - basis @ (a, b)
        omega += float(slope @ rest / (slope @ slope))
    basis = np.column_stack((np.cos(omega * n), np.sin(omega * n), np.ones(len(n))))
    fitted, *_ = np.linalg.lstsq(basis, judged, rcond=None)
    rest = judged - basis @ fitted
    return float(20 * np.log10(np.sqrt(np.mean(rest**2)) / (np.hypot(*fitted[:2]) / np.sqrt(2))))


def cost(engine: Engine) -> tuple[float, int]:
    """Return processor time in percent of real time, the least of a few runs, and the most input held."""
    noise = np.random.default_rng(1).normal(0, 0.1, (round(SECONDS * RATE), 2)).astype(np.float32)
    shares, held = [], 0
    for _ in range(RUNS):
        began_s = time.process_time()
        out, held = engine(noise, 1 + PPM[0] * 1e-6)
        shares.append((time.process_time() - began_s) / (len(out) / RATE))
    return 100 * min(shares), held


def main() -> None:
    """Print the table."""
    engines: dict[str, Engine] = {
        "filters of fixed delays (ours, same rate)": ours(DriftResampler),
        "soxr, variable rate (ours, other rates)": ours(lambda channels: VariableResampler(channels, 1.0)),
        "linear": linear,
    }
    for converter in ("sinc_best", "sinc_medium", "sinc_fastest"):
        try:
            engines[f"libsamplerate, {converter}"] = libsamplerate(converter)
        except ImportError:
            print(f"libsamplerate, {converter}: not installed (python -m pip install samplerate)")
    tones = " | ".join(f"{hz:g} Hz" for hz in TONES_HZ)
    print(f"| engine | THD+N dB at {tones} | CPU % | input held, ms |")
    print(f"|---|{'---|' * len(TONES_HZ)}---|---|")
    for name, engine in engines.items():
        worst = [max(thd_n_db(engine, hz, ppm) for ppm in PPM) for hz in TONES_HZ]
        share, held = cost(engine)
        figures = " | ".join(f"{db:.0f}" for db in worst)
        print(f"| {name} | {figures} | {share:.2f} | {held / RATE * 1000:.0f} |")


if __name__ == "__main__":
    main()
