import time

import numpy as np
import pytest
import soundfile

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.drivers.file_source import FileSource
from radiosync.drivers.playlist import Entry
from radiosync.drivers.reader import READY_MAX, End, Reader
from radiosync.errors import RadiosyncError
from radiosync.host.packetizer import CodedAudio

RATE = 8_000
CHUNK = 800
AUDIO = AudioFormat(RATE, 1, SampleFormat.S16)


@pytest.fixture
def songs(tmp_path):
    """Three songs, of 1, 2 and 3 s, in which every frame says where it is."""
    songs = []
    for number in (1, 2, 3):
        frames = np.arange(number * RATE, dtype=np.int16) + 10_000 * number - 20_000
        soundfile.write(tmp_path / f"{number}.wav", frames, RATE, subtype="PCM_16")
        songs.append(frames)
    return songs


@pytest.fixture
def open_reader(tmp_path, songs):
    readers = []

    def open_it(source=None, lengths=(), **options):
        entries = [Entry(path=tmp_path / f"{number}.wav") for number in (1, 2, 3)]
        source = source or FileSource(entries, warn=pytest.fail, **options)
        readers.append(Reader(source, CHUNK, Codec.FLAC, lengths))
        return readers[-1]

    yield open_it
    for reader in readers:
        reader.close()


def take(reader):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        item = reader.take()
        if item is not None:
            return item
        time.sleep(0.001)
    raise AssertionError("the reader delivers nothing")


def take_until_end(reader):
    items = []
    while not isinstance(item := take(reader), End):
        items.append(item)
    return items, item


def samples_of(items):
    codec = ChunkCodec()
    return np.concatenate([codec.decode(i.codec, i.data, AUDIO, i.frames)[:, 0] for i in items])


def test_everything_is_read_once_in_chunks_of_one_song(open_reader, songs):
    items, end = take_until_end(open_reader())
    assert end.generation == 0
    assert np.array_equal(samples_of(items), np.concatenate(songs))
    assert [i.frames for i in items] == [CHUNK] * 60
    assert [i.song_frame for i in items[:11]] == [*range(0, RATE, CHUNK), 0]


@pytest.mark.parametrize("length", [CHUNK // 4, 3 * CHUNK])
def test_another_length_counts_from_the_next_chunk_on(open_reader, songs, length):
    reader = open_reader()
    first = take(reader)
    reader.chunk_frames = length
    items, _ = take_until_end(reader)
    assert np.array_equal(samples_of([first, *items]), np.concatenate(songs))
    lengths = [item.frames for item in items]
    ready = lengths.index(length)
    assert 0 < ready <= READY_MAX + 2, "what was read already"
    assert set(lengths[:ready]) == {CHUNK}
    last_of_songs = {8_000 - (ready + 1) * CHUNK, 16_000, 24_000}
    assert set(lengths[ready:]) - {length} <= {frames % length for frames in last_of_songs}


def test_it_reads_no_further_ahead_than_its_queue(open_reader):
    reader = open_reader()
    take(reader)
    time.sleep(0.3)
    assert reader._ready.qsize() <= READY_MAX


@pytest.mark.parametrize(
    ("step", "position_s", "song", "frame"),
    [(1, 0.0, 2, 0), (0, 0.5, 1, 4_000), (2, 1.25, 3, 10_000), (-1, 0.0, 1, 0), (0, 99.0, 2, 0)],
)
def test_after_a_jump_comes_what_was_asked_for_and_nothing_else(open_reader, songs, step, position_s, song, frame):
    reader = open_reader()
    first = take(reader)
    reader.jump(first.song.song_id, step, position_s)
    items, end = take_until_end(reader)
    assert end.generation == 1
    assert {i.generation for i in items} == {1}
    wanted = np.concatenate([songs[song - 1][frame:], *songs[song:]])
    assert np.array_equal(samples_of(items), wanted)
    assert items[0].song_frame == frame


def test_a_jump_beyond_the_last_song_is_the_end(open_reader):
    reader = open_reader()
    first = take(reader)
    reader.jump(first.song.song_id, 3, 0.0)
    assert take(reader) == End(1)


def test_in_a_loop_the_first_comes_after_the_last(open_reader, songs):
    reader = open_reader(loop=True)
    first = take(reader)
    reader.jump(first.song.song_id, 3, 0.0)
    again = take(reader)
    assert isinstance(again, CodedAudio)
    assert np.array_equal(samples_of([again]), songs[0][:CHUNK])
    assert again.song.song_id != first.song.song_id, "a song that is played again is another one"


def test_a_jump_from_the_end_starts_again(open_reader, songs):
    reader = open_reader()
    items, _ = take_until_end(reader)
    reader.jump(items[-1].song.song_id, -2, 0.0)
    assert np.array_equal(samples_of(take_until_end(reader)[0]), np.concatenate(songs))


def test_of_many_jumps_the_last_counts(open_reader, songs):
    reader = open_reader()
    first = take(reader)
    for step in (1, 2, 0, 2, 1):
        reader.jump(first.song.song_id, step, 0.0)
    items, end = take_until_end(reader)
    assert end.generation == 5
    assert np.array_equal(samples_of(items), np.concatenate(songs[1:]))


def test_a_source_that_fails_says_why(open_reader):
    class Broken:
        format = AUDIO

        def read(self, _frames):
            raise ZeroDivisionError

        def interrupt(self):
            pass

        close = interrupt

    reader = open_reader(Broken())
    with pytest.raises(RadiosyncError, match="ZeroDivisionError"):
        take(reader)


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_24"), ("aiff", "PCM_16"), ("caf", "FLOAT")]
)
def test_a_seek_is_exact_in_every_lossless_format(tmp_path, suffix, subtype):
    rng = np.random.default_rng(1)
    path = tmp_path / f"song.{suffix}"
    soundfile.write(path, rng.uniform(-0.5, 0.5, (5 * RATE, 2)), RATE, subtype=subtype)
    source = FileSource([Entry(path=path)], warn=pytest.fail)
    first = source.read(10)
    whole = [first.samples]
    while (block := source.read(1_000)) is not None:
        whole.append(block.samples)
    source.jump(first.song.song_id, 0, 2.5)
    block = source.read(1_000)
    assert block.song_frame == 20_000
    assert np.array_equal(block.samples, np.concatenate(whole)[20_000:21_000])


def test_the_first_chunks_are_as_long_as_those_of_before(open_reader):
    reader = open_reader(lengths=(500, 700, RATE - 1200, 300))
    items, _ = take_until_end(reader)
    assert [(item.song.song_id, item.frames) for item in items[:5]] == [
        (1, 500),
        (1, 700),
        (1, RATE - 1200),
        (2, 300),
        (2, CHUNK),
    ]


def test_a_jump_ends_the_lengths_of_before(open_reader):
    reader = open_reader(lengths=(100,) * 50)
    take(reader)
    reader.jump(1, 1, 0.0)
    items, _ = take_until_end(reader)
    assert items[0].frames == CHUNK
