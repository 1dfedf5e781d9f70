"""Every tier gives the same frames of the same music, in fewer bits, and none of them gives bytes a way in."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.audio import opus, pcm, tiers
from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.tiers import POST_ROLL_NS, PRE_ROLL_NS, Tier, encode_tier, nominal_kbps, rounded, tiers_for
from radiosync.errors import RemoteProtocolError
from radiosync.ui.tune import tune
from radiosync.units import frames_from_ns

CD = AudioFormat(44_100, 2, SampleFormat.S16)
DAT = AudioFormat(48_000, 2, SampleFormat.S16)
OPUS_TIERS = (Tier.OPUS_HIGH, Tier.OPUS_LOW)
SECONDS = 4.0


def music(audio, seconds=SECONDS):
    """Return the demo's tune in any format; with all of its bits in use."""
    floats = pcm.map_channels(pcm.float_from_samples(tune(audio.rate, seconds), SampleFormat.S16), audio.channels)
    return pcm.samples_from_float(floats, audio.sample, np.random.default_rng(1))


def sine(audio, hz, seconds=SECONDS, level=0.5):
    t = np.arange(round(seconds * audio.rate)) / audio.rate
    wave = np.repeat(level * np.sin(2 * np.pi * hz * t)[:, None], audio.channels, axis=1)
    return pcm.samples_from_float(wave, audio.sample)


def coded(samples, first, frames, audio, tier):
    """Code frames of a piece with its true neighbours."""
    pre, post = frames_from_ns(PRE_ROLL_NS, audio.rate), frames_from_ns(POST_ROLL_NS, audio.rate)
    end = first + frames
    before, after = samples[max(0, first - pre) : first], samples[end : end + post]
    return encode_tier(tier, before, samples[first:end], after, audio)


def passed(samples, first, frames, audio, tier):
    """Return frames of a piece as a tier passes them, with their overlaps."""
    codec, data = coded(samples, first, frames, audio, tier)
    return ChunkCodec().decode_with_overlap(codec, data, audio, frames)


def snr_db(out, true):
    signal, noise = np.sum(np.square(true, dtype=float)), np.sum((out.astype(float) - true) ** 2)
    return 10 * math.log10(signal / noise) if noise else math.inf


def below(samples, audio, hz):
    """Return what lies below `hz`."""
    spectrum = np.fft.rfft(pcm.float_from_samples(samples, audio.sample), axis=0)
    spectrum[np.fft.rfftfreq(len(samples), 1 / audio.rate) > hz] = 0
    return np.fft.irfft(spectrum, len(samples), axis=0)


def lag(out, true, reach=50):
    """Return by how many frames `out` is late."""
    middle = slice(reach, -reach)
    a, b = out[:, 0].astype(float), true[middle, 0].astype(float)
    scores = [a[reach + d : len(a) - reach + d] @ b for d in range(-reach, reach)]
    return int(np.argmax(scores)) - reach


# What is offered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audio", "seconds", "offered"),
    [
        (DAT, 0.5, (0, 1, 2, 3)),
        (CD, 2.0, (0, 1, 2, 3)),
        (AudioFormat(96_000, 2, SampleFormat.S24), 0.5, (0, 1, 2, 3)),
        (AudioFormat(48_000, 1, SampleFormat.S16), 0.5, (0, 1, 2)),
        (AudioFormat(48_000, 2, SampleFormat.F32), 0.5, (0, 2, 3)),
        (AudioFormat(48_000, 6, SampleFormat.S24), 0.5, (0, 1)),
        (AudioFormat(48_000, 6, SampleFormat.F32), 0.5, (0,)),
        (DAT, 0.02, (0, 1)),
        (DAT, 0.0002, (0,)),
        (DAT, 5.0, (0, 1)),
        (AudioFormat(8_000, 1, SampleFormat.S16), 0.5, (0, 1)),
    ],
)
def test_what_is_offered(audio, seconds, offered):
    assert tiers_for(audio, round(seconds * audio.rate)) == tuple(Tier(value) for value in offered)


@given(st.integers(8_000, 192_000), st.integers(1, 8), st.sampled_from(SampleFormat), st.integers(1, 400_000))
def test_each_step_saves_something(rate, channels, sample, frames):
    audio = AudioFormat(rate, channels, sample)
    offered = tiers_for(audio, frames)
    assert offered[0] is Tier.LOSSLESS
    assert list(offered) == sorted(set(offered))
    rates = [nominal_kbps(tier, audio) for tier in offered]
    assert all(low <= tiers.STEP_MAX * high for high, low in pairwise(rates))


@pytest.mark.parametrize("audio", [DAT, CD])
@pytest.mark.parametrize("tier", Tier)
def test_sizes_are_within_the_planning_figure(audio, tier):
    """The tune is less dense than what the figures are of, so it takes less; but not so much that they mislead."""
    samples, frames = music(audio), audio.rate // 2
    sizes = [len(coded(samples, n * frames, frames, audio, tier)[1]) for n in range(1, 7)]
    kbps = sum(size + 138 * -(-size // 1090) for size in sizes) * 8 / 3 / 1000
    assert 0.6 * nominal_kbps(tier, audio) < kbps <= 1.0 * nominal_kbps(tier, audio)


# What comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("sample", SampleFormat)
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_every_tier_passes_every_format(rate, channels, sample, tier):
    audio = AudioFormat(rate, channels, sample)
    samples = music(audio, 1.0)
    first, frames = rate // 5, rate // 2 + 1
    out = passed(samples, first, frames, audio, tier)
    assert out.samples.shape == (frames, channels)
    assert out.samples.dtype == sample.dtype
    overlap = frames_from_ns(opus.OVERLAP_NS, rate) if tier in OPUS_TIERS and channels <= 2 else 0
    assert (len(out.before), len(out.after)) == (overlap, overlap)
    # Above, Opus gives noise for noise.
    assert snr_db(*(below(side, audio, 2_000) for side in (out.samples, samples[first : first + frames]))) > 12
    if tier is Tier.LOSSLESS:
        assert np.array_equal(out.samples, samples[first : first + frames])


@pytest.mark.parametrize("tier", OPUS_TIERS)
@pytest.mark.parametrize("audio", [DAT, CD, AudioFormat(44_100, 1, SampleFormat.S24)])
def test_opus_is_aligned_to_the_frame(audio, tier):
    samples, frames = music(audio), audio.rate // 2
    for n in range(1, 7):
        true = samples[n * frames - 500 : (n + 1) * frames + 500]
        out = passed(samples, n * frames, frames, audio, tier)
        assert lag(out.samples, true[500:-500]) == 0
        overlap = len(out.before)
        whole = np.concatenate((out.before, out.samples, out.after))
        assert lag(whole[: 20 * overlap], true[500 - overlap :][: 20 * overlap]) == 0


@pytest.mark.parametrize("tier", OPUS_TIERS)
@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("hz", [997.0, 5_000.0])
def test_a_sine_passes_opus_in_phase_and_at_its_level(rate, hz, tier):
    """A quarter of a sample of delay at 5 kHz and 44.1 kHz would be 15 dB."""
    audio = AudioFormat(rate, 2, SampleFormat.S24)
    samples = sine(audio, hz)
    out = passed(samples, rate, rate // 2, audio, tier).samples
    true = samples[rate : rate + rate // 2]
    assert snr_db(out, true) > 25
    assert abs(10 * math.log10(np.mean(out.astype(float) ** 2) / np.mean(true.astype(float) ** 2))) < 0.2


@pytest.mark.parametrize(("tier", "least"), [(Tier.OPUS_HIGH, 13.0), (Tier.OPUS_LOW, 9.0)])
@pytest.mark.parametrize("audio", [DAT, CD])
def test_the_edges_of_opus_are_as_good_as_its_middle(audio, tier, least):
    """The same places of the music are compared: as edges of chunks, and as the middle of others."""
    samples, frames, edge = music(audio, 8.0), audio.rate // 2, audio.rate // 200
    sides = {place: [] for place in ("before", "head", "tail", "after", "middle of edges", "body")}
    for n in range(1, 14):
        begin, end = n * frames, (n + 1) * frames
        out = passed(samples, begin, frames, audio, tier)
        assert len(out.before) == len(out.after) == round(audio.rate * 0.005 + 0.01)
        sides["before"].append((out.before[-edge:], samples[begin - edge : begin]))
        sides["head"].append((out.samples[:edge], samples[begin : begin + edge]))
        sides["tail"].append((out.samples[-edge:], samples[end - edge : end]))
        sides["after"].append((out.after[:edge], samples[end : end + edge]))
        sides["body"].append((out.samples, samples[begin:end]))
        other = passed(samples, begin - frames // 2, frames, audio, tier).samples
        around = slice(frames // 2 - edge, frames // 2 + edge)
        sides["middle of edges"].append((other[around], samples[begin - edge : begin + edge]))
    figures = {name: snr_db(*map(np.concatenate, zip(*pairs, strict=True))) for name, pairs in sides.items()}
    assert figures["body"] > least
    assert all(figures[name] > figures["middle of edges"] - 2 for name in ("before", "head", "tail", "after")), figures


@pytest.mark.parametrize("tier", OPUS_TIERS)
def test_a_bass_is_as_good_at_the_edges(tier):
    """The encoder's high-pass filter settles within the roll; with 5 ms of it the edges are 4 dB worse."""
    samples, frames, near = sine(DAT, 40.0, 8.0), 23_777, 960
    edges, middle = [], []
    for n in range(1, 15):
        begin = n * frames
        out = passed(samples, begin, frames, DAT, tier).samples
        edges += [(out[:near], samples[begin : begin + near])]
        middle += [(out[10_000 : 10_000 + near], samples[begin + 10_000 : begin + 10_000 + near])]
    figures = [snr_db(*map(np.concatenate, zip(*pairs, strict=True))) for pairs in (edges, middle)]
    assert figures[0] > figures[1] - 2, figures


@pytest.mark.parametrize("tier", OPUS_TIERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_opus_keeps_to_the_mode_that_is_exact(channels, tier):
    """The tune in mono looks like speech enough for libopus to choose the hybrid mode at 44 kbit/s."""
    mono = pcm.map_channels(pcm.float_from_samples(tune(48_000, 3.0), SampleFormat.S16), 1)
    samples = pcm.samples_from_float(np.repeat(mono, channels, axis=1), SampleFormat.S16)
    audio = AudioFormat(48_000, channels, SampleFormat.S16)
    for n in range(1, 5):
        packets = opus._split(coded(samples, n * 24_000, 24_000, audio, tier)[1], 100)
        assert all(packet[0] >> 3 >= 16 for packet in packets)
    if channels == 1:
        data = opus.encode(samples[23_000:24_000], samples[24_000:48_000], samples[48_000:49_000], audio, 44)
        assert any(packet[0] >> 3 < 16 for packet in opus._split(data, 100)), "else this shows nothing"


def test_both_ways_are_functions_of_their_arguments():
    samples = music(CD, 1.0)
    for tier in Tier:
        codec, data = coded(samples, 5_000, 22_050, CD, tier)
        ChunkCodec().decode(codec, data, CD, 22_050)
        assert coded(samples, 5_000, 22_050, CD, tier) == (codec, data)
        again = [ChunkCodec().decode_with_overlap(codec, data, CD, 22_050) for _ in range(2)]
        assert all(np.array_equal(one, other) for one, other in zip(*again, strict=True))


@pytest.mark.parametrize("tier", OPUS_TIERS)
def test_where_neighbours_are_missing_only_the_overlap_is(tier):
    samples = music(CD, 2.0)[10_000:]
    body, end = samples[5_000:27_050], 27_050
    for before, after in ((0, 0), (3, 0), (0, 100), (882, 0), (100, 10_000), (10_000, 2)):
        data = encode_tier(tier, samples[max(0, 5_000 - before) : 5_000], body, samples[end : end + after], CD)[1]
        out = ChunkCodec().decode_with_overlap(Codec.OPUS, data, CD, len(body))
        assert (len(out.before), len(out.after)) == (min(before, 221), min(after, 221))
        assert snr_db(out.samples, body) > 7
        assert snr_db(out.samples[:221], body[:221]) > 4
        assert snr_db(out.samples[-221:], body[-221:]) > 4
        assert lag(out.samples, body) == 0


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("frames", [1, 15, 16, 500, 881, 882, 2_000, 22_050])
def test_the_last_chunk_of_a_song_may_be_short(frames, tier):
    samples = music(CD, 1.0)[:30_000]
    first = len(samples) - frames
    codec, data = coded(samples, first, frames, CD, tier)
    assert codec is (Codec.PCM if frames < 16 else Codec.OPUS if tier in OPUS_TIERS and frames >= 882 else Codec.FLAC)
    out = ChunkCodec().decode(codec, data, CD, frames)
    if codec is Codec.OPUS:
        assert lag(out, samples[first:]) == 0
    assert snr_db(out, samples[first:]) > (4 if codec is Codec.OPUS else tiers.SNR_MIN_DB - 1)


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("sample", SampleFormat)
def test_silence_stays_silent_and_small(sample, tier):
    audio = AudioFormat(48_000, 2, sample)
    samples = audio.silence(30_000)
    codec, data = coded(samples, 2_000, 24_000, audio, tier)
    assert np.abs(ChunkCodec().decode(codec, data, audio, 24_000)).max() < 1e-30
    assert len(data) < 200 or codec is Codec.PCM


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("sample", SampleFormat)
def test_a_full_scale_square_does_not_wrap(sample, tier):
    audio = AudioFormat(44_100, 2, sample)
    wave = np.where(np.arange(40_000) // 50 % 2, 1.0, -1.0)[:, None] * np.ones(2)
    samples = pcm.samples_from_float(wave, sample)
    out = pcm.float_from_samples(passed(samples, 5_000, 22_050, audio, tier).samples, sample)
    true = wave[5_000:27_050]
    assert np.all(np.sign(out) == np.sign(true)) or tier in OPUS_TIERS
    assert snr_db(out, true) > 9


# Rounding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [SampleFormat.S16, SampleFormat.S24])
@pytest.mark.parametrize("level_db", [0, -6, -20, -40])
def test_the_noise_of_rounding_follows_the_level(level_db, sample):
    audio = AudioFormat(48_000, 2, sample)
    noise = np.random.default_rng(4).standard_normal((24_000, 2)) * 0.2 * 10 ** (level_db / 20)
    samples = pcm.samples_from_float(noise, sample)
    out = rounded(samples, sample)
    steps = audio.sample.wire_bytes * 8 - 1 + level_db / 6.02 > 13
    for start in range(0, 24_000, 4_096):
        figure = snr_db(out[start : start + 4_096], samples[start : start + 4_096])
        assert figure > tiers.SNR_MIN_DB - 0.5
        assert figure < tiers.SNR_MIN_DB + 6.6 or not steps
    error = out.astype(float) - samples
    assert abs(error.mean()) < 0.02 * error.std() + 1e-9, "ties to even leave no offset"


def test_a_quiet_block_keeps_its_quiet_noise():
    samples = music(DAT, 1.0)[: 4_096 * 4].copy()
    samples[4_096:] //= 256
    out = rounded(samples, SampleFormat.S16)
    assert not np.array_equal(out[:4_096], samples[:4_096])
    assert np.array_equal(out[4_096:], samples[4_096:])


@given(st.sampled_from([SampleFormat.S16, SampleFormat.S24]), st.data())
@settings(max_examples=60, deadline=None)
def test_rounding_never_wraps(sample, data):
    full = 1 << (8 * sample.wire_bytes - 1)
    extremes = st.sampled_from([-full, -full + 1, -full // 2, -1, 0, 1, full // 2, full - 2, full - 1])
    values = data.draw(st.lists(extremes | st.integers(-full, full - 1), min_size=16, max_size=60))
    spare = 8 if sample is SampleFormat.S24 else 0
    samples = (np.array(values, np.int64)[:, None] << spare).astype(sample.dtype)
    out = rounded(samples, sample).astype(np.int64) >> spare
    step = 4 * 10 ** (-tiers.SNR_MIN_DB / 20) * full  # at most sqrt(12) of the level, which is at most full scale
    assert np.abs(out[:, 0] - values).max() <= step
    assert -full <= out.min() <= out.max() < full
    coded_again = encode_tier(Tier.REDUCED, samples[:0], samples, samples[:0], AudioFormat(48_000, 1, sample))
    back = ChunkCodec().decode(*coded_again, AudioFormat(48_000, 1, sample), len(samples))
    assert np.array_equal(back.astype(np.int64) >> spare, out) or coded_again[0] is Codec.PCM


# What the network may send ---------------------------------------------------------------------------------------


def refused_or_whole(data, audio, frames):
    """Decode; bytes that are a chunk by chance may pass, as exactly the frames that were asked for."""
    try:
        out = ChunkCodec().decode_with_overlap(Codec.OPUS, data, audio, frames)
    except RemoteProtocolError:
        return False
    assert out.samples.shape == (frames, audio.channels)
    assert len(out.before) + len(out.after) <= audio.rate // 2
    return True


CHUNK = coded(music(CD, 1.0), 5_000, 8_820, CD, Tier.OPUS_LOW)[1]


@given(st.binary(max_size=3_000), st.integers(0, 200_000), st.integers(1, 8), st.sampled_from(SampleFormat))
@settings(max_examples=150, deadline=None)
def test_random_bytes(data, frames, channels, sample):
    refused_or_whole(data, AudioFormat(44_100, channels, sample), frames)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=8, max_size=30), st.tuples(*[st.integers(0, 999)] * 4))
@settings(max_examples=150, deadline=None)
def test_random_packets_within_a_right_frame(packets, head):
    """Any content of a packet is some sound to Opus, or refused."""
    lead, before, after, skip = head[0], min(head[:2]), min(head[0], head[2]), head[3]
    fields = b"".join(value.to_bytes(2, "big") for value in (lead, before, after, skip))
    whole = [b"\xfc" + packet for packet in packets]
    data = fields + b"".join(len(packet).to_bytes(2, "big") + packet for packet in whole)
    for sample in (SampleFormat.S16, SampleFormat.F32):
        refused_or_whole(data, AudioFormat(44_100, 2, sample), (960 * len(packets) - skip) * 147 // 160 - lead - after)


@given(st.integers(0, len(CHUNK) - 1), st.integers(0, 7), st.integers(0, len(CHUNK)))
@settings(max_examples=150, deadline=None)
def test_damaged_chunks(place, bit, cut):
    flipped = bytearray(CHUNK)
    flipped[place] ^= 1 << bit
    refused_or_whole(bytes(flipped), CD, 8_820)
    assert not refused_or_whole(CHUNK[:cut], CD, 8_820) or cut == len(CHUNK)
    assert not refused_or_whole(CHUNK + bytes(flipped), CD, 8_820)


def test_nothing_is_printed_over_damage(capfd):
    test_damaged_chunks()
    test_random_packets_within_a_right_frame()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("frames", [0, -1, 1, 4_000, 8_820 + 1_800, 17_640, 44_100, 1 << 31, (1 << 32) - 1])
def test_another_length_is_refused(frames):
    assert not refused_or_whole(CHUNK, CD, frames)


def test_a_longer_stream_is_refused_before_it_is_decoded(monkeypatch):
    head, packets = CHUNK[:8], opus._split(CHUNK, 100)

    def forged(packets):
        return head + b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)

    assert refused_or_whole(forged(packets), CD, 8_820)
    assert refused_or_whole(forged([*packets, *packets[:2]]), CD, 8_820), "two packets to spare"
    monkeypatch.setattr(opus, "_read", None)
    assert not refused_or_whole(forged([*packets, *packets[:3]]), CD, 8_820)
    assert not refused_or_whole(forged(packets * 100), CD, 8_820)
    assert not refused_or_whole(forged(packets[:-1]), CD, 8_820)
    for wrong in (b"", b"\xfd" + packets[0][1:], b"\xf4" + packets[0][1:], bytes([0xFC]) * 1_276):
        assert not refused_or_whole(forged([*packets[:-1], wrong]), CD, 8_820)
    # A whole OGG file, or several, is no chunk either.
    whole = opus._write(np.zeros((9_600, 2), np.float32), 64.0)
    assert not refused_or_whole(whole, CD, 8_820)
    assert not refused_or_whole(CHUNK + whole, CD, 8_820)
    monkeypatch.undo()
    for place, value in ((0, 8_821), (2, 883), (4, 883), (6, 4_801)):
        changed = CHUNK[:place] + value.to_bytes(2, "big") + CHUNK[place + 2 :]
        assert not refused_or_whole(changed, CD, 8_820)


@pytest.mark.parametrize("sample", [SampleFormat.S16, SampleFormat.F32])
def test_what_no_loudspeaker_can_play_is_limited(monkeypatch, sample):
    real = opus._read
    wild = [np.nan, np.inf, -np.inf, 1e30]

    def forged(packets, channels):
        block = real(packets, channels)
        block[2_000:2_004] = np.array(wild)[:, None]
        return block

    monkeypatch.setattr(opus, "_read", forged)
    audio = AudioFormat(48_000, 2, sample)
    data = coded(music(audio, 1.0), 5_000, 24_000, audio, Tier.OPUS_LOW)[1]
    out = ChunkCodec().decode(Codec.OPUS, data, audio, 24_000)
    assert np.abs(out.astype(float)).max() <= (pcm.FLOAT_MAX if sample is SampleFormat.F32 else 32_768)
    place = 2_000 - 312 - 960
    full = np.array([0, pcm.FLOAT_MAX, -pcm.FLOAT_MAX, pcm.FLOAT_MAX])
    want = full if sample is SampleFormat.F32 else np.clip(full * 32_768, -32_768, 32_767)
    assert np.array_equal(out[place : place + 4, 0], want)


def test_more_channels_than_two_are_refused():
    assert not refused_or_whole(CHUNK, AudioFormat(44_100, 3, SampleFormat.S16), 8_820)
    with pytest.raises(RemoteProtocolError):
        ChunkCodec().decode(Codec.OPUS, CHUNK[:7], CD, 8_820)
