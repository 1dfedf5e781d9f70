"""Measures the tiers of `radiosync/audio/tiers.py`: what they take of network and processor, and of the music.

    python tools/bench_tiers.py              every tier: kbit/s, processor time, signal-to-noise ratio
    python tools/bench_tiers.py --rolls      Opus: how much has to be coded along with a chunk
    python tools/bench_tiers.py --rounding   REDUCED: with dither and with noise shaping

Two pieces of 20 s: "tune" is the demo's, "dense" a chord of eleven sines and pink noise, 3 dB below it, at -14 dBFS.
The tune begins 0.13 s late, so that the edges of chunks don't all fall on the beat.
Processor time is of one core, in percent of real time.  SNR is of the waveform: for Opus, which gives noise for noise,
it says whether one place is worse than another, not how it sounds.
"""

import argparse
import io
import math
import time
from collections.abc import Callable

import numpy as np
import soundfile
from numpy.typing import NDArray

from radiosync.audio import opus, pcm
from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.crossfade import cross_fade
from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.audio.tiers import POST_ROLL_NS, PRE_ROLL_NS, SNR_MIN_DB, Tier, encode_tier, nominal_kbps, rounded
from radiosync.ui.tune import tune
from radiosync.units import frames_from_ns
from radiosync.wire.codec import AUDIO_OVERHEAD, WIRE_OVERHEAD
from radiosync.wire.limits import DATAGRAM_MAX

SECONDS = 20.0
TUNE_LATE_S = 0.13
RMS = 0.2  # -14 dBFS
EDGE_S = 0.005
Floats = NDArray[np.float64]


def dense(rate: int, seconds: float) -> Floats:
    """Return music with something everywhere in the spectrum, all the time."""
    rng = np.random.default_rng(3)
    t = np.arange(round(seconds * rate))[:, np.newaxis] / rate
    chord = np.zeros((len(t), 2))
    for hz in (55, 110, 164.8, 220, 277.2, 329.6, 440, 554.4, 880, 1760, 3520):
        chord += np.sin(2 * np.pi * hz * t + rng.uniform(0, 6, 2)) / math.sqrt(hz)
    spectrum = np.fft.rfft(rng.standard_normal(chord.shape), axis=0)
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(len(t), 1 / rate), 30))[:, np.newaxis]
    noise = np.fft.irfft(spectrum, len(t), axis=0)
    mixed: Floats = chord / chord.std() + math.sqrt(0.5) * noise / noise.std()
    return mixed * RMS / mixed.std()


def pieces(audio: AudioFormat) -> dict[str, Samples]:
    """Return the music, dithered to the format so that its lowest bits are in use."""
    late = round(TUNE_LATE_S * audio.rate)
    floats = {"tune": tune(audio.rate, SECONDS + TUNE_LATE_S)[late:] / 32768, "dense": dense(audio.rate, SECONDS)}
    dither = np.random.default_rng(1)
    return {
        name: pcm.samples_from_float(pcm.map_channels(music, audio.channels), audio.sample, dither)
        for name, music in floats.items()
    }


def wire_bytes(coded: int) -> int:
    """Return what a coded chunk takes of the network, headers included."""
    return coded + WIRE_OVERHEAD * -(-coded // (DATAGRAM_MAX - AUDIO_OVERHEAD))


def snr_db(pairs: list[tuple[Samples, Samples]]) -> float:
    """Return the signal-to-noise ratio of (what came out, what should have) together."""
    signal = sum(float(np.sum(np.square(true, dtype=float))) for _, true in pairs)
    noise = sum(float(np.sum((out.astype(float) - true) ** 2)) for out, true in pairs)
    return 10 * math.log10(signal / noise) if noise else math.inf


def row(values: list[object]) -> str:
    return "| " + " | ".join(f"{v:.1f}" if isinstance(v, float) else str(v) for v in values) + " |"


def head(columns: list[str]) -> None:
    print(row(list(columns)), row(["---"] * len(columns)), sep="\n", flush=True)


def tier_row(name: str, samples: Samples, audio: AudioFormat, tier: Tier, frames: int) -> list[object]:
    """Code, decode and join a piece as host and listener do."""
    pre, post = frames_from_ns(PRE_ROLL_NS, audio.rate), frames_from_ns(POST_ROLL_NS, audio.rate)
    firsts = range(0, len(samples) - frames + 1, frames)
    started = time.process_time()
    coded = [
        encode_tier(tier, samples[max(0, n - pre) : n], samples[n : n + frames], samples[n + frames :][:post], audio)
        for n in firsts
    ]
    encoded = time.process_time()
    decoded = [ChunkCodec().decode_with_overlap(codec, data, audio, frames) for codec, data in coded]
    seconds = len(firsts) * frames / audio.rate
    cpu = [100 * (encoded - started) / seconds, 100 * (time.process_time() - encoded) / seconds]
    heard = np.concatenate([each.samples for each in decoded])
    for n, each in zip(firsts[1:], decoded, strict=False):
        heard[n : n + len(each.after)] = cross_fade(each.after, heard[n : n + len(each.after)], audio.sample)
    edge = round(EDGE_S * audio.rate)
    edges = [(heard[n - edge : n + edge], samples[n - edge : n + edge]) for n in firsts[1:]]
    kbps = sum(wire_bytes(len(data)) for _, data in coded) * 8 / seconds / 1000
    body = snr_db([(heard, samples[: len(heard)])])
    return [audio.rate, name, tier.name, round(kbps), nominal_kbps(tier, audio), *cpu, body, snr_db(edges)]


def measure_tiers(options: argparse.Namespace) -> None:
    head(["rate", "music", "tier", "kbit/s", "nominal", "code %", "decode %", "SNR dB", "at the edges"])
    for rate in (44_100, 48_000):
        audio = AudioFormat(rate, options.channels, SampleFormat[options.sample.upper()])
        frames = round(options.chunk * rate)
        for name, samples in pieces(audio).items():
            for tier in Tier:
                print(row(tier_row(name, samples, audio, tier, frames)), flush=True)


def measure_rolls(options: argparse.Namespace) -> None:
    """Code chunks with other rolls, whole in their container, and compare their parts with the original."""
    rate = 48_000
    frames, edge = round(options.chunk * rate), round(EDGE_S * rate)
    music = pcm.float_from_samples(pieces(AudioFormat(rate, 2, SampleFormat.S16))["tune"], SampleFormat.S16)
    head(["before ms", "after ms", "kbit/s", "first 5 ms", "middle", "last 5 ms", "5 ms after"])
    for before_ms, after_ms in ((0, 0), (5, 13.5), (10, 13.5), (20, 0), (20, 6), (20, 13.5), (40, 13.5), (80, 13.5)):
        before, after = round(before_ms * rate / 1000), round(after_ms * rate / 1000)
        coded, parts = 0, [[], [], [], []]
        firsts = range(frames + 1234, len(music) - 2 * frames, frames)
        for n in firsts:
            true = music[n - before : n + frames + after]
            ogg = opus._write(true, 136)
            coded += sum(len(packet) + 2 for packet in opus._packets(ogg))
            out = soundfile.read(io.BytesIO(ogg), dtype="float32", always_2d=True)[0]
            end = before + frames
            quarter = frames // 4
            for part, begin, until in zip(
                parts,
                (before, before + quarter, end - edge, end),
                (before + edge, end - quarter, end, end + edge),
                strict=True,
            ):
                if until <= len(true):
                    part.append((out[begin:until], true[begin:until]))
        figures = [snr_db(part) if part else "-" for part in parts]
        kbps = round(coded * 8 / len(firsts) / options.chunk / 1000)
        print(row([f"{before_ms:g}", f"{after_ms:g}", kbps, *figures]), flush=True)


def measure_rounding(options: argparse.Namespace) -> None:
    """Round the same music to the same steps in other ways."""
    audio = AudioFormat(48_000, 2, SampleFormat.S16)
    frames = round(options.chunk * audio.rate)
    ways: dict[str, Callable[[Samples], Samples]] = {
        "plain": lambda block: rounded(block, audio.sample),
        "TPDF dither": lambda block: _rounded_with(block, dither=np.random.default_rng(2), taps=(0.0, 0.0)),
        "first order shaping": lambda block: _rounded_with(block, dither=None, taps=(1.0, 0.0)),
        "second order shaping": lambda block: _rounded_with(block, dither=None, taps=(1.6, -0.8)),
        "plain, 4.8 dB better": lambda block: rounded(block, audio.sample, SNR_MIN_DB + 4.8),
    }
    head(["music", "rounding", "kbit/s", "code %", "SNR dB", "noise below 6 kHz"])
    for name, samples in pieces(audio).items():
        cut = samples[: 8 * frames]
        for way, function in ways.items():
            started = time.process_time()
            out = np.concatenate([function(cut[n : n + frames]) for n in range(0, len(cut), frames)])
            cpu = 100 * (time.process_time() - started) / len(cut) * audio.rate
            coded = [
                len(ChunkCodec().encode(out[n : n + frames], audio, Codec.FLAC)[1]) for n in range(0, len(cut), frames)
            ]
            power = np.abs(np.fft.rfft(out.astype(float) - cut, axis=0)) ** 2
            low = np.fft.rfftfreq(len(cut), 1 / audio.rate) < 6_000
            share = 10 * math.log10(float(power[low].sum() / power.sum()))
            kbps = round(sum(map(wire_bytes, coded)) * 8 / len(cut) * audio.rate / 1000)
            print(row([name, way, kbps, cpu, snr_db([(out, cut)]), f"{share:.1f} dB"]), flush=True)


def _rounded_with(samples: Samples, dither: np.random.Generator | None, taps: tuple[float, float]) -> Samples:
    """Round to the steps that `rounded` takes, with dither or with the error fed back."""
    out = np.empty(samples.shape)
    for start in range(0, len(samples), 4096):
        block = samples[start : start + 4096].astype(float)
        least = np.bitwise_or.reduce(rounded(samples[start : start + 4096], SampleFormat.S16), axis=None)
        step = float(least & -least) or 1.0
        if dither is not None:
            noise = dither.random(block.shape) - dither.random(block.shape)
            out[start : start + 4096] = np.rint(block / step + noise) * step
            continue
        last, before = np.zeros(2), np.zeros(2)
        for n, wanted in enumerate(block):
            target = wanted - taps[0] * last - taps[1] * before
            out[start + n] = np.rint(target / step) * step
            last, before = out[start + n] - target, last
    limited: Samples = np.clip(out, -32768, 32767).astype(np.int16)
    return limited


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunk", type=float, default=0.5, help="seconds")
    parser.add_argument("--channels", type=int, default=2, choices=[1, 2])
    parser.add_argument("--sample", default="s16", choices=[each.name.lower() for each in SampleFormat])
    parser.add_argument("--rolls", action="store_true")
    parser.add_argument("--rounding", action="store_true")
    options = parser.parse_args()
    if options.rolls:
        measure_rolls(options)
    elif options.rounding:
        measure_rounding(options)
    else:
        measure_tiers(options)


if __name__ == "__main__":
    main()
