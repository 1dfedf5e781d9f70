"""Files become one gapless stream: bit for bit where the format fits, well converted where not."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from radiosync.audio import pcm
from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.audio.song import SourceBlock
from radiosync.drivers import file_source as module
from radiosync.drivers.file_source import FileSource
from radiosync.drivers.playlist import Entry
from radiosync.errors import SourceError

SUFFIXES = {"OGG": "ogg", "AIFF": "aiff", "SD2": "sd2", "XI": "xi"}
SKIPPED_FORMATS = {"RAW", "SD2"}  # no header at all, and one in a Macintosh resource fork
STORED = {"PCM_24": "S24", "ALAC_20": "S24", "ALAC_24": "S24", "DWVW_24": "S24", "PCM_32": "S32", "ALAC_32": "S32"}


class Warnings(list[str]):
    def __call__(self, line: str) -> None:
        assert "\n" not in line
        self.append(line)


@pytest.fixture
def warnings() -> Warnings:
    return Warnings()


def tone(frames: int, channels: int = 2, rate: int = 48_000, hz: float = 1000.0) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * hz / rate * np.arange(frames)[:, None] + np.arange(channels))


def write(
    path: Path,
    frames: int = 6000,
    *,
    rate: int = 48_000,
    channels: int = 2,
    subtype: str | None = "PCM_16",
    seed: int | None = None,
    **tags: str,
) -> Samples:
    """Write a tone, or noise where a seed is given, and return what it holds as int32."""
    data = tone(frames, channels, rate)
    if seed is not None:
        data = np.random.default_rng(seed).uniform(-1, 1, (frames, channels))
    with soundfile.SoundFile(path, "w", rate, channels, subtype=subtype) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(data)
    return soundfile.read(path, dtype="int32", always_2d=True)[0]


def entries(*paths: Path) -> list[Entry]:
    return [Entry(path=path) for path in paths]


def drain(source: FileSource, frames: int = 480) -> list[SourceBlock]:
    blocks = []
    while (block := source.read(frames)) is not None:
        assert 1 <= len(block.samples) <= frames
        assert block.samples.dtype == source.format.sample.dtype
        assert block.samples.shape[1] == source.format.channels
        blocks.append(block)
    assert source.read(frames) is None
    source.close()
    return blocks


def joined(blocks: list[SourceBlock]) -> Samples:
    return np.concatenate([block.samples for block in blocks])


def all_kinds() -> list[tuple[str, str]]:
    kinds = [(f, s) for f in soundfile.available_formats() for s in soundfile.available_subtypes(f)]
    return sorted((f, s) for f, s in kinds if f not in SKIPPED_FORMATS)


@pytest.mark.parametrize(("container", "subtype"), all_kinds())
def test_every_kind_of_file(container: str, subtype: str, tmp_path: Path, warnings: Warnings) -> None:
    path = tmp_path / f"song.{SUFFIXES.get(container, container.lower())}"
    rate = 8_000 if subtype.startswith(("GSM", "G72", "NMS", "VOX", "OPUS")) or container == "WVE" else 44_100
    channels = 1 if subtype.startswith(("GSM", "G72", "NMS", "VOX", "DWVW")) else 2
    try:
        soundfile.write(path, tone(8000, channels, rate), rate, format=container, subtype=subtype)
    except soundfile.LibsndfileError:
        channels = 1
        try:
            soundfile.write(path, tone(8000, channels, rate), rate, format=container, subtype=subtype)
        except soundfile.LibsndfileError:
            pytest.skip("libsndfile doesn't write it")
    if not path.stat().st_size:
        pytest.skip("libsndfile writes nothing")
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            lossless = file.subtype.startswith(("PCM", "ALAC"))
            expected = file.read(file.frames, dtype="int32" if lossless else "float64", always_2d=True)
    except soundfile.LibsndfileError:
        pytest.skip("libsndfile doesn't read what it wrote")
    source = FileSource(entries(path), warn=warnings)
    float_sample = "F32" if subtype in {"FLOAT", "DOUBLE"} else "S16"
    sample = SampleFormat[STORED.get(subtype, float_sample)]
    assert source.format == AudioFormat(min(max(rate, 8_000), 192_000), channels, sample)
    out = joined(drain(source))
    assert len(out) == len(expected)
    if lossless:
        wide = out.astype(np.int32) << (16 if sample is SampleFormat.S16 else 0)
        np.testing.assert_array_equal(wide, expected & (-1 << 16 if sample is SampleFormat.S16 else -1))
    else:
        floats = pcm.float_from_samples(out, sample)
        np.testing.assert_allclose(floats, expected, atol=1.6 / 32768)
    assert warnings == []


@pytest.mark.parametrize("block", [1, 333, 480, 4096, 100_000])
def test_songs_of_one_format_follow_one_another_bit_for_bit(block: int, tmp_path: Path, warnings: Warnings) -> None:
    lengths = [5000, 1, 4096, 7777]
    paths = [tmp_path / f"{n}.{'flac' if n % 2 else 'wav'}" for n in range(4)]
    stored = [write(path, frames, seed=frames) for path, frames in zip(paths, lengths, strict=True)]
    blocks = drain(FileSource(entries(*paths), warn=warnings), block)
    np.testing.assert_array_equal(joined(blocks).astype(np.int32) << 16, np.concatenate(stored))
    position, song_id = 0, 0
    for piece in blocks:
        if piece.song.song_id != song_id:
            song_id, position = piece.song.song_id, 0
            assert piece.song.frames == lengths[song_id - 1]
        assert piece.song_frame == position
        position += len(piece.samples)
        assert len(piece.samples) == block or position == piece.song.frames
    assert song_id == 4


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (96_000, 6), (192_000, 8)])
def test_every_rate_and_depth_passes_untouched(
    rate: int, channels: int, subtype: str, tmp_path: Path, warnings: Warnings
) -> None:
    stored = write(tmp_path / "a.wav", 3000, rate=rate, channels=channels, subtype=subtype, seed=1)
    source = FileSource(entries(tmp_path / "a.wav"), warn=warnings)
    out = joined(drain(source))
    assert source.format.rate == rate
    if subtype == "FLOAT":
        np.testing.assert_array_equal(out, soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)[0])
    else:
        np.testing.assert_array_equal(out.astype(np.int32) << (16 if subtype == "PCM_16" else 0), stored)


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (96_000, 6), (192_000, 8), (11_025, 1)])
def test_songs_of_other_formats_are_converted_in_time(
    rate: int, channels: int, tmp_path: Path, warnings: Warnings
) -> None:
    frames = rate + 7
    write(tmp_path / "first.wav", 1000)
    data = np.repeat(tone(frames, 1, rate, 440.0), channels, axis=1)
    soundfile.write(tmp_path / "second.wav", data, rate, subtype="PCM_24")
    blocks = drain(FileSource(entries(tmp_path / "first.wav", tmp_path / "second.wav"), warn=warnings))
    out = joined([block for block in blocks if block.song.song_id == 2])
    expected = (2 * frames * 48_000 + rate) // (2 * rate)
    assert len(out) == expected == blocks[-1].song.frames
    middle = slice(5000, 40_000)
    wanted = tone(expected, 1, 48_000, 440.0)[middle]
    # ±1 step of dither and half a step of rounding
    np.testing.assert_allclose(out[middle] / 32768, np.repeat(wanted, 2, axis=1), atol=1.6 / 32768)


def test_rate_and_channels_can_be_asked_for(tmp_path: Path, warnings: Warnings) -> None:
    write(tmp_path / "a.flac", 4410, rate=44_100, channels=2)
    source = FileSource(entries(tmp_path / "a.flac"), rate=48_000, channels=1, warn=warnings)
    assert source.format == AudioFormat(48_000, 1, SampleFormat.S16)
    assert len(joined(drain(source))) == 4800


def test_widening_adds_no_noise(tmp_path: Path, warnings: Warnings) -> None:
    write(tmp_path / "a.flac", 100, subtype="PCM_24")
    stored = write(tmp_path / "b.flac", 1000, channels=1, seed=4)
    blocks = drain(FileSource(entries(tmp_path / "a.flac", tmp_path / "b.flac"), warn=warnings))
    out = joined([block for block in blocks if block.song.song_id == 2])
    np.testing.assert_array_equal(out, np.repeat(stored, 2, axis=1))


def test_the_same_list_gives_the_same_stream(tmp_path: Path, warnings: Warnings) -> None:
    write(tmp_path / "a.ogg", subtype="VORBIS")
    first, second = (joined(drain(FileSource(entries(tmp_path / "a.ogg"), warn=warnings))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_tags_and_names(tmp_path: Path, warnings: Warnings) -> None:
    write(tmp_path / "a.flac", 100, title="Jóga\n\x1b[31m", artist="Björk", album="Homogenic")
    write(tmp_path / "02 untagged.wav", 100)
    songs = [Entry(path=tmp_path / "a.flac"), Entry(path=tmp_path / "02 untagged.wav")]
    songs.append(Entry(path=tmp_path / "02 untagged.wav", title="From the list"))
    first, second, third = (block.song for block in drain(FileSource(songs, warn=warnings)))
    assert (first.title, first.artist, first.album, first.name) == ("Jóga [31m", "Björk", "Homogenic", "a.flac")
    assert (second.title, second.artist, second.name) == ("02 untagged", "", "02 untagged.wav")
    assert third.title == "From the list"


def test_loop_plays_the_list_again_under_new_ids(tmp_path: Path, warnings: Warnings) -> None:
    stored = [write(tmp_path / name, 700, seed=n) for n, name in enumerate(("a.wav", "b.wav"))]
    source = FileSource(entries(tmp_path / "a.wav", tmp_path / "b.wav"), loop=True, warn=warnings)
    blocks = [source.read(1000) for _ in range(5)]
    source.close()
    assert [block.song.song_id for block in blocks if block] == [1, 2, 3, 4, 5]
    assert blocks[2] is not None
    np.testing.assert_array_equal(blocks[2].samples.astype(np.int32) << 16, stored[0])


def test_a_loop_of_files_that_vanish_ends(tmp_path: Path, warnings: Warnings) -> None:
    write(tmp_path / "a.wav", 700)
    source = FileSource(entries(tmp_path / "a.wav"), loop=True, warn=warnings)
    (tmp_path / "a.wav").unlink()
    assert len(drain(source, 1000)) == 1
    assert source.songs_skipped == 1
    assert "no such file" in warnings[0]


def test_the_next_song_is_opened_before_the_current_ends(tmp_path: Path, warnings: Warnings) -> None:
    write(tmp_path / "a.wav", 48_000 * 11)
    write(tmp_path / "b.wav", 700)
    source = FileSource(entries(tmp_path / "a.wav", tmp_path / "b.wav"), warn=warnings)
    source.read(48_000)
    assert source._prepared is None, "not earlier than ten seconds before"
    source.read(480)
    assert source._prepared is not None
    if os.name == "posix":
        (tmp_path / "b.wav").unlink()
    assert drain(source, 48_000)[-1].song.song_id == 2


def broken_files(folder: Path) -> dict[str, str]:
    write(folder / "whole.flac", 60_000)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.mp3").write_bytes(b"no music at all\n" * 90)
    (folder / "zeros.wav").write_bytes(bytes(1000))
    (folder / "header.flac").write_bytes((folder / "whole.flac").read_bytes()[:100])
    soundfile.write(folder / "silent.wav", np.zeros((0, 2)), 48_000)
    (folder / "folder.wav").mkdir()
    return {
        "empty.wav": "is empty",
        "text.mp3": "no sound file",
        "zeros.wav": "no sound file",
        "header.flac": "can't be played",
        "silent.wav": "no audio",
        "folder.wav": "not a file",
        "missing.wav": "no such file",
    }


def test_a_broken_only_song_is_an_error_of_one_clear_line(tmp_path: Path, warnings: Warnings) -> None:
    for name, reason in broken_files(tmp_path).items():
        with pytest.raises(SourceError, match=reason) as caught:
            FileSource([Entry(path=tmp_path / name, named=True)], warn=warnings)
        message = str(caught.value)
        assert message.startswith(str(tmp_path / name))
        assert ";" in message
        assert "\n" not in message
    assert warnings == []


def test_broken_songs_of_a_list_are_skipped_with_a_warning(tmp_path: Path, warnings: Warnings) -> None:
    bad = list(broken_files(tmp_path))
    paths = [tmp_path / name for name in (*bad[:3], "whole.flac", *bad[3:])]
    source = FileSource(entries(*paths), warn=warnings)
    assert len(joined(drain(source))) == 60_000
    assert source.songs_skipped == len(warnings) == len(bad)
    with pytest.raises(SourceError, match="none of the 3 songs"):
        FileSource(entries(*paths[:3]), warn=warnings)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.aiff", "a.w64", "a.au"])
def test_a_cut_off_file_plays_what_is_there(name: str, tmp_path: Path, warnings: Warnings) -> None:
    subtype = None if name.endswith("mp3") else "PCM_16"
    whole = write(tmp_path / name, 60_000, subtype=subtype)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 6 // 10])
    write(tmp_path / "next.wav", 500)
    blocks = drain(FileSource(entries(tmp_path / name, tmp_path / "next.wav"), warn=warnings))
    out = joined([block for block in blocks if block.song.song_id == 1])
    assert 28_000 < len(out) < 40_000
    if subtype:
        np.testing.assert_array_equal(out.astype(np.int32) << 16, whole[: len(out)])
    assert blocks[-1].song.song_id == 2
    assert len(warnings) == 1
    assert warnings[0].startswith(str(tmp_path / name))


def test_without_predictive_buffering_it_is_opened_when_the_current_has_ended(
    tmp_path: Path, warnings: Warnings
) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros((2_000, 1), np.int16), 8_000, subtype="PCM_16")
    entries = [Entry(path=tmp_path / "a.wav"), Entry(path=tmp_path / "b.wav")]
    for ahead in (True, False):
        source = FileSource(entries, ahead=ahead, warn=warnings.append)
        source.read(1_000)
        assert (source._prepared is not None) == ahead
        heard = 1_000
        while (block := source.read(700)) is not None:
            heard += len(block.samples)
        assert heard == 4_000
        source.close()


def test_a_length_left_open_by_a_writer_to_a_pipe_is_no_fault(tmp_path: Path, warnings: Warnings) -> None:
    write(tmp_path / "a.wav", 1000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    for mark in (b"RIFF", b"data"):
        at = data.index(mark) + 4
        data[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    assert len(joined(drain(FileSource(entries(tmp_path / "a.wav"), warn=warnings)))) == 1000
    assert warnings == []


def test_more_than_eight_channels_are_limited_with_a_warning(tmp_path: Path, warnings: Warnings) -> None:
    stored = write(tmp_path / "a.wav", 500, channels=10, seed=1)
    source = FileSource(entries(tmp_path / "a.wav"), warn=warnings)
    np.testing.assert_array_equal(joined(drain(source)).astype(np.int32) << 16, stored[:, :8])
    assert len(warnings) == 1
    assert "10 channels" in warnings[0]


@pytest.mark.skipif(os.name != "posix", reason="names are characters elsewhere")
def test_any_file_name_will_do(tmp_path: Path, warnings: Warnings) -> None:
    write(tmp_path / "a.wav", 500)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.wav"))
    (tmp_path / "a.wav").rename(odd)
    (block,) = drain(FileSource(entries(odd), warn=warnings), 1000)
    assert block.song.title.encode().decode().isprintable()


def test_floats_that_are_no_numbers_become_silence_when_converted(tmp_path: Path, warnings: Warnings) -> None:
    write(tmp_path / "a.wav", 100)
    soundfile.write(tmp_path / "b.wav", np.array([[np.nan, np.inf]] * 500), 44_100, subtype="FLOAT")
    blocks = drain(FileSource(entries(tmp_path / "a.wav", tmp_path / "b.wav"), warn=warnings))
    out = joined([block for block in blocks if block.song.song_id == 2])
    assert np.abs(out[:, 0].astype(int)).max() <= 1
    assert out[200, 1] == 32767


@pytest.mark.parametrize(
    "how", [{}, {"rate": 44_100}, {"channels": 1}, {"subtype": "VORBIS"}], ids=["as it is", "rate", "channels", "lossy"]
)
def test_who_goes_on_in_a_song_reads_the_very_frames_of_before(how: dict[str, object], tmp_path: Path) -> None:
    """Frames that were converted, with dither, are the same again only if all before them is converted again."""
    lossy = how == {"subtype": "VORBIS"}
    suffix = "ogg" if lossy else "wav"
    paths = [tmp_path / f"{number}.{suffix}" for number in (1, 2)]
    for number, path in enumerate(paths):
        write(path, 60_000, seed=number, subtype="VORBIS" if lossy else "PCM_16")
    options = {key: value for key, value in how.items() if key != "subtype"}

    def opened() -> FileSource:
        return FileSource(entries(*paths), warn=pytest.fail, **options)  # type: ignore[arg-type]

    whole, again = opened(), opened()
    blocks = []
    while (block := whole.read(5000)) is not None:
        blocks.append(block)
    for number in (3, len(blocks) - 3):
        block = blocks[number]
        index = whole.index_of(block.song.song_id)
        assert index is not None
        again.resume(block.song.song_id, index, block.song_frame)
        for expected in blocks[number:]:
            found = again.read(5000)
            assert found is not None
            assert (found.song.song_id, found.song_frame) == (expected.song.song_id, expected.song_frame)
            assert np.array_equal(found.samples, expected.samples)


def test_a_very_long_converted_song_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S_MAX", 1)
    write(tmp_path / "1.wav", 200_000)
    source = FileSource(entries(tmp_path / "1.wav"), rate=44_100, warn=pytest.fail)
    source.resume(1, 0, 88_200)
    block = source.read(1000)
    assert block is not None
    assert block.song_frame == 88_200
