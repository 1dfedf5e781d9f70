import numpy as np
import pytest

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.listener.exact import Block
from radiosync.sim.devices import STRETCH_S, STRETCHES_MAX, ExactSink, SimSource
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_S

FORMATS = [AudioFormat(8000, channels, sample) for channels in (1, 2, 3) for sample in SampleFormat]


@pytest.mark.parametrize("audio", FORMATS, ids=str)
def test_what_the_source_hands_out_is_what_it_says_is_true(audio):
    source = SimSource(audio, (1000, 777), salt=5)
    at, songs = 0, []
    while (coded := source.next(300, Codec.PCM)) is not None:
        decoded = ChunkCodec().decode(coded.codec, coded.data, audio, coded.frames)
        assert np.array_equal(decoded, source.samples(at, coded.frames))
        songs.append((coded.song.song_id, coded.song_frame, coded.frames))
        at += coded.frames
    assert songs == [
        (1, 0, 300),
        (1, 300, 300),
        (1, 600, 300),
        (1, 900, 100),
        (2, 0, 300),
        (2, 300, 300),
        (2, 600, 177),
    ]


@pytest.mark.parametrize("sample", [SampleFormat.S16, SampleFormat.S24, SampleFormat.S32])
def test_no_frame_is_silence_or_like_its_neighbours(sample):
    source = SimSource(AudioFormat(8000, 1, sample), (1,))
    samples = source.samples(32_000, 2000)[:, 0].astype(np.int64)
    assert (samples != 0).all()
    assert (np.diff(samples) != 0).all()


@pytest.mark.parametrize("audio", FORMATS, ids=str)
def test_what_is_true_does_not_depend_on_how_it_is_asked_for(audio):
    second = audio.rate
    begin, whole = 3 * second, 4 * STRETCH_S * second
    expected = SimSource(audio, (1,)).samples(begin, whole)  # longer than what is kept in one piece
    source = SimSource(audio, (1,))
    for block in (700, 3 * second, 700):
        parts = [source.samples(at, min(block, begin + whole - at)) for at in range(begin, begin + whole, block)]
        assert np.array_equal(np.concatenate(parts), expected)


def test_so_much_of_the_true_music_is_kept():
    audio = AudioFormat(8000, 1, SampleFormat.S32)
    source = SimSource(audio, (1,))
    for second in range(4 * STRETCH_S * STRETCHES_MAX):
        source.samples(second * 8000, 10)
    assert len(source._stretches) == STRETCHES_MAX


def test_gaps_are_silence_and_move_what_follows():
    source = SimSource(AudioFormat(8000, 1, SampleFormat.S32), (100,))
    source.next(10, Codec.PCM)
    source.placed(0)
    source.next(10, Codec.PCM)
    source.placed(15)
    assert list(source.samples(8, 10)[:, 0]) == [9, 10, 0, 0, 0, 0, 0, 11, 12, 13]
    assert source.source_frame(9) == 9
    assert source.source_frame(15) == 10
    source.next(10, Codec.PCM)
    source.placed(28)
    assert list(source.samples(23, 7)[:, 0]) == [19, 20, 0, 0, 0, 21, 22]
    assert source.end_frame == 108


def test_a_jump_goes_on_elsewhere_in_frames_nobody_has_used():
    source = SimSource(AudioFormat(8000, 1, SampleFormat.S32), (8000, 8000))
    first = source.next(10, Codec.PCM)
    source.placed(0)
    source.next(10, Codec.PCM)
    source.placed(10)
    source.jump(first.song.song_id, 1, 0.5)
    coded = source.next(10, Codec.PCM)
    source.placed(12)  # what was read last had not been sent
    assert (coded.song.title, coded.song_frame, coded.generation) == ("Song 2", 4000, 1)
    assert coded.song.song_id != first.song.song_id
    assert list(source.samples(10, 4)[:, 0]) == [11, 12, 12_001, 12_002]
    assert source.source_frame(13) == 12_001
    assert source.end_frame == 12 + 4000
    source.jump(coded.song.song_id, 5, 0.0)
    assert source.next(10, Codec.PCM) is None


@pytest.mark.parametrize(
    ("told", "frames", "counts"),
    [
        ([1, 2], (20, 30, 35), (0, 0)),  # as the timeline has it
        ([1, 2], (25, 30, 35), (0, 5)),  # went on although it had been told
        ([1], (25,), (0, 0)),  # has not been told
        ([1, 3], (40, 80, 85), (0, 0)),  # of the second jump alone, which ends the first record here ...
        ([1, 3], (20, 80, 85), (60, 0)),  # ... and not there
        ([1, 2, 3], (20, 80, 85), (50, 0)),  # had been told of what lies between
    ],
)
def test_a_sink_is_judged_by_what_its_listener_has_been_told(told, frames, counts):
    source = SimSource(AudioFormat(8000, 1, SampleFormat.S32), (100,))
    for version, (frame, at_frames) in enumerate(((0, 0), (30, 20), (80, 40)), 1):
        source.records[version] = Timeline(
            version=version,
            epoch=version,
            state=PlayState.PLAYING,
            media_frame=frame,
            effective_at=at_frames * NS_PER_S // 8000,
        )
    sink = ExactSink(source, versions=told)
    (first, *rest) = frames
    sink.write(Block(frame=0, samples=source.samples(0, first), due_at=0), 0)
    if rest:
        begin, end = rest
        sink.write(Block(frame=begin, samples=source.samples(begin, end - begin), due_at=0), 0)
    assert (sink.skipped_frames, sink.overrun_frames) == counts


def test_a_sink_that_plays_what_a_jump_leaves_out_is_found_out():
    source = SimSource(AudioFormat(8000, 1, SampleFormat.S32), (100,))
    source.cuts[20] = 30
    for cut, frames, counts in ((20, (0, 30), (0, 0, 0)), (19, (0, 30), (0, 11, 0)), (22, (0, 30), (0, 0, 2))):
        sink = ExactSink(source)
        sink.write(Block(frame=frames[0], samples=source.samples(0, cut), due_at=0), 0)
        sink.write(Block(frame=frames[1], samples=source.samples(30, 5), due_at=0), 0)
        assert (sink.repeated_frames, sink.skipped_frames, sink.overrun_frames) == counts


@pytest.mark.parametrize("again_at", [5, 15, 25])
def test_who_finds_its_session_again_goes_on_where_that_is(again_at):
    """Further back as well: it has missed a pause."""
    source = SimSource(AudioFormat(8000, 1, SampleFormat.S32), (100,))
    sink = ExactSink(source)
    for frame in (0, again_at):
        sink.rejoined = frame == again_at
        sink.write(Block(frame=frame, samples=source.samples(frame, 15), due_at=0), 0)
    assert (sink.repeated_frames, sink.skipped_frames, sink.wrong_frames) == (0, 0, 0)
    sink.write(Block(frame=again_at + 14, samples=source.samples(again_at + 14, 5), due_at=0), 0)
    assert sink.repeated_frames == 1, "but not twice"


def test_a_position_is_read_back_from_two_samples():
    source = SimSource(AudioFormat(8000, 2, SampleFormat.F32), (100_000,), salt=77)
    frames = np.arange(12_345, 12_345 + 3000)
    samples = source.samples(12_345, 3000).astype(np.float64)
    off = (source.position_modulo(samples[:, 0], samples[:, 1]) - frames) % source.period_frames
    off = np.minimum(off, source.period_frames - off)
    assert off.max() < 5e-5, "in frames: 6 ns"
