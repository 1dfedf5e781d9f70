"""What a listener without a crystal plays is the source, bit for bit, from the first frame to the last."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from party import ENDED, LISTENING, Host, Listener, Party, assert_same, read_wav, write_song

from radiosync.audio.format import SampleFormat
from radiosync.audio.pcm import bytes_from_samples

Format = tuple[int, int, str]


def see_out(host: Host, listeners: list[Listener]) -> None:
    """Wait until everything has been played, and end everybody."""
    for listener in listeners:
        listener.wait_line(ENDED)
    assert host.wait_end() == 0, host.text
    for listener in listeners:
        assert listener.stop() == 0, listener.text


def play_to_two(folder: Path, codec: str, audio: Format, seconds: float) -> None:
    folder.mkdir()
    source = write_song(folder / "source.wav", *audio, seconds)
    with Party(folder) as party:
        listeners = party.listeners(2)
        host = party.host(folder / "source.wav", args=["--codec", codec])
        see_out(host, listeners)
        for number, listener in enumerate(listeners, 1):
            assert listener.wav is not None
            assert_same(read_wav(listener.wav, *audio), source, f"listener {number} of {folder.name}")
        assert host.stats()[-1]["source_gaps"] == host.stats()[-1]["chunks_late"] == 0


@contextmanager
def at_the_same_time() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


@pytest.mark.parametrize("codec", ["pcm", "flac"])
@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_two_listeners_write_the_source(rate: int, codec: str, tmp_path: Path) -> None:
    formats = [(rate, channels, subtype) for channels in (1, 2) for subtype in ("PCM_16", "PCM_24")]
    with at_the_same_time() as threads:
        parties = {
            audio: threads.submit(play_to_two, tmp_path / f"{audio[1]}-{audio[2]}", codec, audio, 2.3)
            for audio in formats
        }
    failed = {audio: error for audio, party in parties.items() if (error := party.exception()) is not None}
    assert not failed, "\n\n".join(f"{audio}: {error}" for audio, error in failed.items())


RARE: list[Format] = [
    (44_100, 2, "FLOAT"),
    (48_000, 2, "PCM_32"),
    (8_000, 1, "PCM_16"),
    (192_000, 8, "PCM_24"),
]


@pytest.mark.parametrize("audio", RARE, ids=lambda audio: "-".join(map(str, audio)))
def test_rare_formats_arrive_as_they_are(audio: Format, tmp_path: Path) -> None:
    play_to_two(tmp_path / "party", "auto", audio, 2.3)


def test_two_songs_follow_without_a_frame_between(party: Party, tmp_path: Path) -> None:
    audio = (44_100, 2, "PCM_16")
    songs = [tmp_path / "one.wav", tmp_path / "two.wav"]
    sources = [write_song(song, *audio, 1.37, seed) for seed, song in enumerate(songs)]
    (listener,) = party.listeners(1)
    host = party.host(*songs)
    see_out(host, [listener])
    assert listener.wav is not None
    assert_same(read_wav(listener.wav, *audio), np.concatenate(sources))
    assert [line for _, line in listener.lines if line.startswith("♪")] == ["♪ one", "♪ two"]


def test_a_song_of_another_format_is_converted_to_the_frame(party: Party, tmp_path: Path) -> None:
    first = write_song(tmp_path / "one.wav", 44_100, 2, "PCM_16", 1.5)
    write_song(tmp_path / "two.wav", 48_000, 1, "PCM_24", 1.5, seed=2)
    third = write_song(tmp_path / "three.wav", 44_100, 2, "PCM_16", 1.0, seed=3)
    (listener,) = party.listeners(1)
    host = party.host(*(tmp_path / f"{name}.wav" for name in ("one", "two", "three")))
    see_out(host, [listener])
    assert listener.wav is not None
    played = read_wav(listener.wav, 44_100, 2, "PCM_16")
    converted = round(44_100 * 1.5)
    assert len(played) == len(first) + converted + len(third)
    assert_same(played[: len(first)], first)
    assert_same(played[-len(third) :], third)
    middle = played[len(first) : -len(third)].astype(float)
    assert (np.abs(middle[:, 0] - middle[:, 1]) <= 2).all(), "mono is the same on both sides, but for dither"
    # It sounds from its first moment to its last: no silence was put in.
    loudness = np.sqrt((middle[: converted // 20 * 20, 0].reshape(20, -1) ** 2).mean(axis=1))
    assert loudness.min() > 0.5 * loudness.max() > 1000


def test_file_pipe_and_nothing_in_one_party(party: Party, tmp_path: Path) -> None:
    audio = (48_000, 2, "PCM_24")
    source = write_song(tmp_path / "song.wav", *audio, 2.3)
    listeners = [party.listener(output, ready=False) for output in ("wav", "pipe:-", "null")]
    for listener in listeners:
        listener.wait_line(LISTENING)
    host = party.host(tmp_path / "song.wav")
    see_out(host, listeners)
    to_file, to_pipe, to_nothing = listeners
    assert to_file.wav is not None
    assert_same(read_wav(to_file.wav, *audio), source)
    assert to_pipe.wait_pipe() == bytes_from_samples(source, SampleFormat.S24)
    assert any(record.get("emitted_frame", 0) > 0 for record in to_nothing.stats())
