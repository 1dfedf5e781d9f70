import threading

import numpy as np
import pytest

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.tiers import Tier
from radiosync.drivers.transcoder import Transcoder
from radiosync.host.ladder import TierJob
from radiosync.repair.symbols import Chunk
from radiosync.wire.messages import ChunkHeader

AUDIO = AudioFormat(48_000, 1, SampleFormat.S16)
FRAMES = 24_000
WAIT_S = 30  # not a limit that is tested


def job(data=None):
    noise = np.random.default_rng(1).integers(-5000, 5000, (FRAMES, 1), np.int16)
    codec, coded = ChunkCodec().encode(noise, AUDIO, Codec.FLAC)
    coded = coded if data is None else data
    header = ChunkHeader(
        seq=4,
        epoch=1,
        first_frame=0,
        frames=FRAMES,
        play_at=0,
        song_id=1,
        song_frame=0,
        buffer_position_ms=0,
        stamped_at=0,
        codec=codec,
        coded_bytes=len(coded),
        symbol_bytes=1090,
        symbols=1,
    )
    return TierJob(tier=Tier.OPUS_LOW, chunk=Chunk(header=header, symbols=(coded,)), before=None, after=None)


@pytest.fixture
def transcoder():
    woken = threading.Event()
    it = Transcoder(AUDIO, woken.set)
    it.woken = woken
    yield it
    it.close()


def made(transcoder, work):
    transcoder.woken.clear()
    transcoder.submit(work)
    assert not transcoder.idle
    assert transcoder.woken.wait(WAIT_S)
    result = transcoder.take()
    assert transcoder.idle
    assert transcoder.take() is None
    return result


def test_a_job_is_done_in_the_background_and_wakes_the_loop(transcoder):
    assert transcoder.idle
    assert transcoder.take() is None
    work = job()
    result = made(transcoder, work)
    assert result.job is work
    assert result.codec == Codec.OPUS
    assert 0 < len(result.data) < work.chunk.header.coded_bytes / 3


def test_what_can_not_be_coded_goes_as_it_is(transcoder):
    result = made(transcoder, job(data=b"no FLAC at all"))
    assert (result.codec, result.data) == (Codec.FLAC, b"no FLAC at all")
    assert transcoder.failures == 1
    assert made(transcoder, job()).codec == Codec.OPUS, "the thread lives on"


def test_closing_without_a_job_ends_nothing(transcoder):
    assert not any(thread.name == "transcoder" for thread in threading.enumerate())
