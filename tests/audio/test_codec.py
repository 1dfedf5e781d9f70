"""Chunks come back bit for bit, and nothing but a chunk comes back at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.audio import pcm
from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.errors import RemoteProtocolError

S16 = AudioFormat(48_000, 2, SampleFormat.S16)
LOSSLESS = (Codec.PCM, Codec.FLAC)


def music(audio: AudioFormat, frames: int, seed: int = 1) -> Samples:
    """Return a tone with a little noise: something FLAC makes smaller."""
    rng = np.random.default_rng(seed)
    tone = 0.3 * np.sin(np.arange(frames)[:, None] * np.linspace(0.02, 0.05, audio.channels))
    return pcm.samples_from_float((tone + 1e-4 * rng.standard_normal(tone.shape)).astype(np.float32), audio.sample)


def noise(audio: AudioFormat, frames: int) -> Samples:
    return pcm.samples_from_bytes(np.random.default_rng(2).bytes(frames * audio.frame_bytes), audio)


@pytest.mark.parametrize("sample", SampleFormat)
@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("rate", [8_000, 11_025, 12_345, 44_100, 48_000, 65_537, 96_000, 191_990, 192_000])
def test_every_format_comes_back_bit_for_bit(rate: int, channels: int, sample: SampleFormat) -> None:
    audio = AudioFormat(rate, channels, sample)
    for frames in (17, 960, 5000):
        samples = music(audio, frames)
        codec, data = ChunkCodec().encode(samples, audio, Codec.FLAC)
        flac = sample in {SampleFormat.S16, SampleFormat.S24} and rate != 65_537
        assert frames == 17 or (codec is Codec.FLAC) == flac
        back = ChunkCodec().decode(codec, data, audio, frames)
        assert back.dtype == sample.dtype
        assert back.tobytes() == samples.tobytes()


@given(
    st.sampled_from(list(SampleFormat)),
    st.integers(1, 8),
    st.integers(8_000, 192_000),
    st.integers(1, 9000),
    st.booleans(),
    st.sampled_from(LOSSLESS),
)
@settings(max_examples=120, deadline=None)
def test_round_trip(sample: SampleFormat, channels: int, rate: int, frames: int, tonal: bool, wanted: Codec) -> None:
    audio = AudioFormat(rate, channels, sample)
    samples = music(audio, frames) if tonal else noise(audio, frames)
    codec, data = ChunkCodec().encode(samples, audio, wanted)
    assert len(data) <= frames * audio.frame_bytes
    assert ChunkCodec().decode(codec, data, audio, frames).tobytes() == samples.tobytes()


@pytest.mark.parametrize("frames", range(1, 40))
def test_tiny_chunks(frames: int) -> None:
    for samples in (music(S16, frames), S16.silence(frames)):
        codec, data = ChunkCodec().encode(samples, S16, Codec.FLAC)
        assert frames >= 16 or codec is Codec.PCM
        np.testing.assert_array_equal(ChunkCodec().decode(codec, data, S16, frames), samples)


def test_what_flac_would_make_larger_travels_as_pcm_and_is_counted() -> None:
    chunks = ChunkCodec()
    assert chunks.encode(noise(S16, 2000), S16, Codec.FLAC)[0] is Codec.PCM
    assert chunks.pcm_escapes == 1
    assert chunks.encode(music(S16, 2000), S16, Codec.FLAC)[0] is Codec.FLAC
    assert chunks.encode(music(S16, 2000), S16, Codec.PCM)[0] is Codec.PCM
    assert chunks.pcm_escapes == 1


def test_silence_is_nearly_nothing() -> None:
    assert len(ChunkCodec().encode(S16.silence(24_000), S16, Codec.FLAC)[1]) < 200


@pytest.mark.parametrize("frames", [20, 4096, 4100, 24_000])
def test_a_wrong_length_is_refused(frames: int) -> None:
    samples = music(S16, frames)
    for wanted in LOSSLESS:
        codec, data = ChunkCodec().encode(samples, S16, wanted)
        for wrong in (0, 1, frames - 1, frames + 1, 2 * frames, 10**9):
            with pytest.raises(RemoteProtocolError):
                ChunkCodec().decode(codec, data, S16, wrong)
        for cut in (b"", data[:-1], data[: len(data) // 2], data[1:], data + b"\0", data + data):
            with pytest.raises(RemoteProtocolError):
                ChunkCodec().decode(codec, cut, S16, frames)


def test_a_chunk_of_another_format_is_refused() -> None:
    data = ChunkCodec().encode(music(S16, 960), S16, Codec.FLAC)[1]
    for other in (AudioFormat(48_000, 1, SampleFormat.S16), AudioFormat(48_000, 2, SampleFormat.S24)):
        with pytest.raises(RemoteProtocolError):
            ChunkCodec().decode(Codec.FLAC, data, other, 960)
    with pytest.raises(RemoteProtocolError):
        ChunkCodec().decode(Codec.FLAC, data, AudioFormat(48_000, 2, SampleFormat.F32), 960)


@given(st.binary(max_size=3000), st.integers(0, 2000), st.integers(1, 8))
@settings(max_examples=150, deadline=None)
def test_garbage_is_refused(data: bytes, frames: int, channels: int) -> None:
    with pytest.raises(RemoteProtocolError):
        ChunkCodec().decode(Codec.FLAC, data, AudioFormat(48_000, channels, SampleFormat.S16), frames)


def test_a_flipped_bit_is_never_taken_for_music(capfd: pytest.CaptureFixture[str]) -> None:
    samples = music(S16, 5000)
    codec, data = ChunkCodec().encode(samples, S16, Codec.FLAC)
    rng = np.random.default_rng(3)
    for _ in range(300):
        broken = bytearray(data)
        broken[rng.integers(len(data))] ^= 1 << rng.integers(8)
        with pytest.raises(RemoteProtocolError):
            ChunkCodec().decode(codec, bytes(broken), S16, 5000)
    assert capfd.readouterr().err == ""
