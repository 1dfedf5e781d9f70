"""PCM conversions are exact, limited, and the same on every machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.audio import pcm
from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.errors import RemoteProtocolError

FORMATS = list(SampleFormat)


def any_samples(audio: AudioFormat, frames: int, seed: int = 1) -> Samples:
    rng = np.random.default_rng(seed)
    shape = (frames, audio.channels)
    if audio.sample is SampleFormat.F32:
        return rng.uniform(-1.5, 1.5, shape).astype(np.float32)
    info = np.iinfo(audio.sample.dtype)
    samples = rng.integers(info.min, info.max, shape, audio.sample.dtype, endpoint=True)
    samples[:2] = [[info.min], [info.max]]
    return samples & ~0xFF if audio.sample is SampleFormat.S24 else samples


@pytest.mark.parametrize(
    ("sample", "value", "wire"),
    [
        (SampleFormat.S16, -2, "feff"),
        (SampleFormat.S24, 0x12345600, "563412"),
        (SampleFormat.S24, -256, "ffffff"),
        (SampleFormat.S32, 0x12345678, "78563412"),
        (SampleFormat.F32, 1.0, "0000803f"),
    ],
)
def test_the_wire_is_little_endian_and_packed(sample: SampleFormat, value: float, wire: str) -> None:
    assert pcm.bytes_from_samples(np.array([[value]], sample.dtype), sample).hex() == wire


@given(st.sampled_from(FORMATS), st.integers(1, 8), st.integers(2, 40), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_wire_round_trip_is_exact(sample: SampleFormat, channels: int, frames: int, seed: int) -> None:
    audio = AudioFormat(48_000, channels, sample)
    samples = any_samples(audio, frames, seed)
    data = pcm.bytes_from_samples(samples, sample)
    assert len(data) == frames * audio.frame_bytes
    back = pcm.samples_from_bytes(data, audio)
    assert back.dtype == sample.dtype
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, samples)


def test_packing_takes_any_memory_layout() -> None:
    samples = any_samples(AudioFormat(48_000, 4, SampleFormat.S24), 10)
    assert pcm.bytes_from_samples(samples[::2, ::-1], SampleFormat.S24) == pcm.bytes_from_samples(
        samples[::2, ::-1].copy(), SampleFormat.S24
    )


def test_a_part_of_a_frame_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="13 bytes"):
        pcm.samples_from_bytes(bytes(13), AudioFormat(48_000, 2, SampleFormat.S24))


@pytest.mark.parametrize("sample", [SampleFormat.S16, SampleFormat.S24])
def test_16_and_24_bits_survive_the_way_through_float32(sample: SampleFormat) -> None:
    samples = any_samples(AudioFormat(48_000, 2, sample), 5000)
    floats = pcm.float_from_samples(samples, sample)
    assert floats.dtype == np.float32
    assert floats.min() == -1.0
    assert floats.max() < 1.0
    np.testing.assert_array_equal(pcm.samples_from_float(floats, sample), samples)


def test_32_bits_survive_through_float64() -> None:
    samples = any_samples(AudioFormat(48_000, 2, SampleFormat.S32), 5000)
    np.testing.assert_array_equal(pcm.samples_from_float(samples / 2.0**31, SampleFormat.S32), samples)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sample", [SampleFormat.S16, SampleFormat.S24, SampleFormat.S32])
def test_full_scale_is_a_limit_and_nan_is_silence(sample: SampleFormat, dtype: type) -> None:
    block = np.array([[2.0], [-2.0], [np.inf], [-np.inf], [np.nan], [1.0]], dtype)
    low, high = np.iinfo(sample.dtype).min, np.iinfo(sample.dtype).max
    if sample is SampleFormat.S24:
        high &= ~0xFF
    assert pcm.samples_from_float(block, sample)[:, 0].tolist() == [high, low, high, low, 0, high]


def test_ties_go_to_the_even_integer() -> None:
    block = np.array([[0.5], [1.5], [2.5], [-0.5], [-1.5]], np.float32) / 32768
    assert pcm.samples_from_float(block, SampleFormat.S16)[:, 0].tolist() == [0, 2, 2, 0, -2]


def test_dither_is_triangular_unbiased_and_from_its_seed() -> None:
    block = np.full((200_000, 1), 0.3 / 32768, np.float32)
    out = pcm.samples_from_float(block, SampleFormat.S16, np.random.default_rng(7))
    assert abs(out.mean() - 0.3) < 0.01
    # TPDF of ±1 step and the rounding: a variance of 1/6 + 1/12 step², whatever the signal.
    assert abs(out.var() - 0.25) < 0.005
    assert set(np.unique(out)) == {-1, 0, 1}
    np.testing.assert_array_equal(out, pcm.samples_from_float(block, SampleFormat.S16, np.random.default_rng(7)))


def test_floats_pass_but_for_what_would_break_filters() -> None:
    block = np.array([[0.25], [1.5], [np.nan], [np.inf], [-1e30]], np.float32)
    assert pcm.float_from_samples(block, SampleFormat.F32)[:, 0].tolist() == [0.25, 1.5, 0.0, 16.0, -16.0]
    assert np.isnan(block[2, 0]), "the input is left alone"
    assert pcm.samples_from_float(block, SampleFormat.F32).tobytes() == block.tobytes()


def test_channels() -> None:
    mono = np.array([[0.5], [-0.25]], np.float32)
    stereo = np.array([[1.0, 0.5]], np.float32)
    assert pcm.map_channels(mono, 1) is mono
    assert pcm.map_channels(mono, 3).tolist() == [[0.5] * 3, [-0.25] * 3]
    assert pcm.map_channels(stereo, 1).tolist() == [[0.75]]
    assert pcm.map_channels(stereo, 4).tolist() == [[1.0, 0.5, 0.0, 0.0]]


@pytest.mark.parametrize("source", range(2, 9))
@pytest.mark.parametrize("target", range(1, 8))
def test_downmix_cannot_clip_and_keeps_left_left(source: int, target: int) -> None:
    if target >= source:
        return
    full = pcm.map_channels(np.ones((1, source), np.float32), target)
    assert full.shape == (1, target)
    assert full.max() == pytest.approx(1.0)
    left = np.zeros((1, source), np.float32)
    left[0, 0] = 1.0
    out = pcm.map_channels(left, target)[0]
    assert out.dtype == np.float32
    assert out[0] > 0.15
    assert not out[1:].any()


def test_the_centre_of_5_1_lands_in_the_middle_and_the_lfe_nowhere() -> None:
    centre, bass = np.eye(6, dtype=np.float32)[2:3], np.eye(6, dtype=np.float32)[3:4]
    assert np.ptp(pcm.map_channels(centre, 2)) == 0
    assert not pcm.map_channels(bass, 2).any()
