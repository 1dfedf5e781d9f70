"""Where chunks meet of which one is lossy, the jitter buffer cross-fades; all others follow bit for bit."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.audio import pcm
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.tiers import POST_ROLL_NS, PRE_ROLL_NS, Tier, encode_tier
from radiosync.listener import jitter as module
from radiosync.listener.jitter import JitterBuffer
from radiosync.units import frames_from_ns

RATE = 8_000
FORMATS = [AudioFormat(RATE, channels, sample) for channels in (1, 2) for sample in SampleFormat]


def piece(audio, seconds=2.0, hz=440.0, level=0.5):
    t = np.arange(round(seconds * audio.rate)) / audio.rate
    wave = level * np.sin(2 * np.pi * hz * t)
    return pcm.samples_from_float(np.repeat(wave[:, None], audio.channels, axis=1), audio.sample)


def joined(kit, audio, samples, parts, *, epochs=None, holes=None):
    """Return a buffer with the piece in parts of (frames, tier), coded with its true neighbours."""
    buffer = JitterBuffer(audio, 100)
    first = 0
    pre, post = (frames_from_ns(roll, audio.rate) for roll in (PRE_ROLL_NS, POST_ROLL_NS))
    for seq, (frames, tier) in enumerate(parts):
        end = first + frames
        codec, data = encode_tier(
            tier, samples[max(0, first - pre) : first], samples[first:end], samples[end : end + post], audio
        )
        shift = sum((holes or {}).get(n, 0) for n in range(seq + 1))
        symbols = kit.chunk_symbols(seq, first + shift, samples[first:end], audio, coded=(codec, data))
        if epochs:
            symbols = [replace(s, chunk=replace(s.chunk, epoch=epochs[seq])) for s in symbols]
        for symbol in symbols:
            buffer.add(seq, symbol)
        first = end
    return buffer


def in_pieces(buffer, cuts, total, drops=False):
    """Read everything up to each of the cuts; a playout forgets what it has read."""
    out = []
    for begin, end in pairwise([0, *cuts, total]):
        out.append(buffer.read(begin, end - begin)[0])
        if drops:
            buffer.drop_before(end)
    return np.concatenate(out)


PARTS = st.lists(
    st.tuples(st.sampled_from([1, 30, 39, 160, 161, 200, 800, 1601]), st.sampled_from(Tier)), min_size=2, max_size=6
)


@settings(max_examples=60, deadline=None)
@given(parts=PARTS, audio=st.sampled_from(FORMATS), cuts=st.sets(st.integers(1, 3_000), max_size=40), near=st.data())
def test_how_it_is_read_makes_no_difference_to_what_is_heard(kit, parts, audio, cuts, near):
    samples = piece(audio)
    total = sum(frames for frames, _ in parts)
    edges = [sum(frames for frames, _ in parts[:n]) for n in range(1, len(parts))]
    cuts |= {edge + near.draw(st.integers(-45, 45)) for edge in edges for _ in range(4)} | set(edges)
    cuts = sorted(cut for cut in cuts if 0 < cut < total)
    whole, present = joined(kit, audio, samples, parts).read(0, total)
    assert present.all()
    assert whole.dtype == audio.sample.dtype
    for drops in (False, True):
        assert np.array_equal(in_pieces(joined(kit, audio, samples, parts), cuts, total, drops), whole)
    backwards = joined(kit, audio, samples, parts)
    for begin, end in reversed(list(pairwise([0, *cuts, total]))):
        assert np.array_equal(backwards.read(begin, end - begin)[0], whole[begin:end])


def test_a_fade_goes_from_one_to_the_other(kit):
    """Over 40 frames behind the edge from what the earlier knows, or before it to what the later knows."""
    audio = FORMATS[0]
    samples = piece(audio)
    kinds = (Tier.LOSSLESS, Tier.OPUS_LOW, Tier.OPUS_HIGH, Tier.REDUCED, Tier.LOSSLESS)
    buffer = joined(kit, audio, samples, [(1_600, tier) for tier in kinds])
    out = buffer.read(0, 8_000)[0]
    alone = [buffer._decode(buffer._slots[seq]) for seq in range(5)]
    bare = np.concatenate([each.samples for each in alone])
    changed = np.flatnonzero((out != bare).any(axis=1))
    zones = [(1_560, 1_600), (3_200, 3_240), (4_800, 4_840)]
    assert all(any(begin <= frame < end for begin, end in zones) for frame in changed)
    assert all(np.count_nonzero((changed >= begin) & (changed < end)) > 20 for begin, end in zones)
    assert np.array_equal(out[6_400:], samples[6_400:8_000])
    others = [alone[1].before, alone[1].after, alone[2].after]
    for (begin, end), known, rising in zip(zones, others, (True, False, False), strict=True):
        own, other = bare[begin:end].astype(float), known.astype(float)
        apart = np.abs(own - other) > 10
        weight = (out[begin:end] - own)[apart] / (other - own)[apart]
        expected = (1 - np.cos(np.pi * (np.arange(40) + 0.5) / 40)) / 2
        expected = np.broadcast_to((expected if rising else expected[::-1])[:, None], own.shape)[apart]
        assert np.abs(weight - expected).max() < 0.06


@pytest.mark.parametrize("audio", [AudioFormat(44_100, 2, SampleFormat.S16), AudioFormat(48_000, 2, SampleFormat.S24)])
@pytest.mark.parametrize(
    "ladder",
    [
        (Tier.OPUS_LOW,) * 4,
        (Tier.OPUS_HIGH,) * 4,
        (Tier.LOSSLESS, Tier.OPUS_LOW) * 2,
        (Tier.OPUS_HIGH, Tier.LOSSLESS) * 2,
        (Tier.OPUS_HIGH, Tier.OPUS_LOW) * 2,
    ],
)
def test_steps_do_not_click(kit, monkeypatch, audio, ladder):
    """A click is what a sine of 440 Hz has above 3 kHz: at an edge not more than 60 dB below the sine, if faded."""
    samples = piece(audio, hz=440.0)
    frames = audio.rate // 2

    def clicks():
        out = joined(kit, audio, samples, [(frames, tier) for tier in ladder]).read(0, 4 * frames)[0]
        heard = pcm.float_from_samples(out[:, 0], audio.sample).astype(float)
        spectrum = np.fft.rfft(heard * np.hanning(len(heard)))
        spectrum[np.fft.rfftfreq(len(heard), 1 / audio.rate) < 3_000] = 0
        high = np.fft.irfft(spectrum, len(heard)) / np.maximum(np.hanning(len(heard)), 0.1)
        around = audio.rate // 100
        return [20 * np.log10(np.abs(high[n * frames - around : n * frames + around]).max() / 0.5) for n in (1, 2, 3)]

    faded = clicks()
    monkeypatch.setattr(JitterBuffer, "_join", lambda *_: None)
    bare = clicks()
    assert max(faded) < -60
    assert max(faded) < max(bare) - 12


def test_lossless_and_reduced_chunks_are_joined_without_a_fade(kit, monkeypatch):
    audio = FORMATS[1]
    samples = piece(audio)
    parts = [(1_600, tier) for tier in (Tier.LOSSLESS, Tier.LOSSLESS, Tier.REDUCED, Tier.LOSSLESS, Tier.REDUCED)]
    buffer = joined(kit, audio, samples, parts)
    monkeypatch.setattr(module, "cross_fade", None)
    out = in_pieces(buffer, [1_000, 1_590, 1_600, 1_610, 3_210, 4_800, 7_990], 8_000)
    assert np.array_equal(out[:3_200], samples[:3_200])
    assert np.array_equal(out[4_800:6_400], samples[4_800:6_400])
    assert not buffer._behind


def test_only_what_follows_in_the_same_epoch_is_joined(kit, monkeypatch):
    """After a jump the frame numbers go on, but not the music; a hole has no neighbours."""
    audio = FORMATS[0]
    samples = piece(audio)
    for tiers in ((Tier.OPUS_LOW, Tier.LOSSLESS), (Tier.LOSSLESS, Tier.OPUS_LOW), (Tier.OPUS_LOW, Tier.OPUS_LOW)):
        parts = [(1_600, tier) for tier in tiers]
        with monkeypatch.context() as patch:
            patch.setattr(module, "cross_fade", None)
            joined(kit, audio, samples, parts, epochs=(1, 2)).read(0, 3_200)
            joined(kit, audio, samples, parts, holes={1: 1}).read(0, 3_200)
            with pytest.raises(TypeError):
                joined(kit, audio, samples, parts).read(0, 3_200)


def test_a_broken_neighbour_is_found_once_and_costs_nothing_else(kit):
    audio = FORMATS[0]
    samples = piece(audio)
    buffer = joined(kit, audio, samples, [(1_600, Tier.LOSSLESS), (1_600, Tier.OPUS_LOW), (1_600, Tier.LOSSLESS)])
    buffer._slots[1]._best._bytes[0] = 0xFF
    out, present = buffer.read(0, 4_800)
    assert buffer.broken == 1
    assert np.array_equal(out[present], np.concatenate((samples[:1_600], samples[3_200:4_800])))
    assert present.tolist() == [True] * 1_600 + [False] * 1_600 + [True] * 1_600


def test_a_missing_or_late_neighbour_is_not_waited_for(kit):
    audio = FORMATS[0]
    samples = piece(audio)
    parts = [(1_600, Tier.LOSSLESS), (1_600, Tier.OPUS_LOW), (1_600, Tier.LOSSLESS)]
    full = joined(kit, audio, samples, parts)
    want = full.read(0, 4_800)[0]
    buffer = JitterBuffer(audio, 10)
    whole = {seq: full._slots[seq] for seq in range(3)}
    buffer._slots[0], buffer._order = whole[0], [(0, 0)]
    buffer._lossy = True
    assert np.array_equal(buffer.read(0, 1_600)[0], samples[:1_600])
    buffer._slots, buffer._order = whole, full._order
    assert np.array_equal(buffer.read(1_600, 3_200)[0], want[1_600:])


@pytest.mark.parametrize("sample", SampleFormat)
def test_a_fade_stays_within_full_scale(kit, sample):
    """Opus overshoots at a square wave; the integer formats saturate, and nothing wraps around."""
    audio = AudioFormat(RATE, 2, sample)
    wave = np.where(np.arange(8_000) // 20 % 2, 1.0, -1.0)[:, None] * np.ones(2)
    samples = pcm.samples_from_float(wave, sample)
    tiers = (Tier.OPUS_LOW, Tier.OPUS_HIGH, Tier.LOSSLESS, Tier.OPUS_LOW, Tier.LOSSLESS)
    out = joined(kit, audio, samples, [(1_600, tier) for tier in tiers]).read(0, 8_000)[0]
    heard = pcm.float_from_samples(out, sample)
    away = np.abs(np.arange(8_000) % 20 - 10) < 7  # the flat parts
    assert np.abs(heard - wave)[away].max() < 0.6
    if sample is SampleFormat.S24:
        assert not (out & 0xFF).any()


def test_an_overlap_that_claims_too_much_fades_no_longer_than_others(kit, monkeypatch):
    audio = FORMATS[0]
    samples = piece(audio)
    real = module.ChunkCodec.decode_with_overlap

    def boasting(self, codec, *args):
        decoded = real(self, codec, *args)
        return decoded._replace(before=np.zeros((1_600, 1), np.int16), after=np.zeros((1_600, 1), np.int16))

    monkeypatch.setattr(module.ChunkCodec, "decode_with_overlap", boasting)
    buffer = joined(kit, audio, samples, [(1_600, Tier.OPUS_LOW)] * 2)
    out = buffer.read(0, 3_200)[0]
    bare = np.concatenate([buffer._decoded[seq].samples for seq in (0, 1)])
    changed = np.flatnonzero((out != bare).any(axis=1))
    assert 1_600 <= changed.min() <= changed.max() < 1_640
