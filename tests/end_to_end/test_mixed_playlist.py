"""Ten songs of different formats, one of them followed by a broken file, are heard as one piece of music.

All of them are stretches of the same two tones: each begins at the phase that its place in the stream has.  What is
heard can so be told from a formula, and a frame too many or too few anywhere would shift everything behind it.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from party import ENDED, Party, read_wav

RATE, CHANNELS = 44_100, 2  # the stream's: the first song's
PITCHES = (441.0, 588.0)  # left, right; a mono song has the left one
AMPLITUDE = 0.4
EDGE = 300  # frames: where a resampler, for want of what was cut off, rings
STEPS = 2.6  # of 16 bits: dither (1), rounding in the file and in the stream (0.5 each), and a little

Samples = NDArray[Any]


class Song(NamedTuple):
    """A file, its length in its own frames, and how near it must be to the formula: exact, converted or lossy."""

    name: str
    rate: int
    channels: int
    subtype: str
    frames: int
    kind: str


SONGS = [
    Song("01.wav", 44_100, 2, "PCM_16", 33_333, "exact"),
    Song("02.flac", 44_100, 2, "PCM_16", 30_011, "exact"),
    Song("03.flac", 48_000, 2, "PCM_24", 40_001, "converted"),
    Song("04.wav", 44_100, 1, "PCM_16", 29_999, "exact"),
    Song("05.ogg", 44_100, 2, "VORBIS", 36_000, "lossy"),
    Song("06.mp3", 48_000, 2, "MPEG_LAYER_III", 40_000, "lossy"),
    Song("07.wav", 48_000, 1, "PCM_16", 37_123, "converted"),
    Song("08.wav", 44_100, 2, "PCM_24", 31_000, "converted"),
    Song("09.flac", 44_100, 2, "PCM_16", 32_107, "exact"),
    Song("10.wav", 44_100, 2, "PCM_16", 27_000, "exact"),
]
BROKEN_AFTER = "05.ogg"


def tones(begin_s: float, frames: int, rate: int, channels: int) -> NDArray[np.float64]:
    t = begin_s + np.arange(frames)[:, None] / rate
    return AMPLITUDE * np.sin(2 * np.pi * np.array(PITCHES[:channels]) * t)


def in_stream(frames: int, rate: int) -> int:
    """Return how many frames of the stream a song is, rounded half up: what the program promises."""
    return (2 * frames * RATE + rate) // (2 * rate)


def write(song: Song, folder: Path, begin: int) -> int:
    """Write a song that begins at frame `begin` of the stream; return how many frames the file gives back."""
    samples = tones(begin / RATE, song.frames, song.rate, song.channels)
    if song.kind == "exact":
        samples = np.round(samples * 32768).astype(np.int16)
    soundfile.write(folder / song.name, samples, song.rate, subtype=song.subtype)
    return len(soundfile.read(folder / song.name)[0])


def play(party: Party, folder: Path) -> tuple[Samples, dict[Song, int]]:
    """Play all songs, and a broken file among them; return what was heard, and where each song begins in it."""
    begins, end = {}, 0
    for song in SONGS:
        begins[song] = end
        end += in_stream(write(song, folder, end), song.rate)
    names = [song.name for song in SONGS]
    names.insert(names.index(BROKEN_AFTER) + 1, "broken.flac")
    (folder / "broken.flac").write_bytes((folder / "02.flac").read_bytes()[:300])
    (folder / "list.m3u").write_text("\n".join(names) + "\n")
    (listener,) = party.listeners(1)
    host = party.host(folder / "list.m3u", args=["--codec", "flac"])
    listener.wait_line(ENDED)
    assert host.wait_end() == 0, host.text
    assert listener.stop() == 0, listener.text
    assert "broken.flac" in host.text
    assert host.stats()[-1]["source_gaps"] == host.stats()[-1]["chunks_late"] == 0
    told = [line.removeprefix("♪ ") for _, line in listener.lines if line.startswith("♪")]
    assert told == [song.name.partition(".")[0] for song in SONGS]
    assert listener.wav is not None
    played = read_wav(listener.wav, RATE, CHANNELS, "PCM_16")
    assert len(played) == end, "no frame too many or too few"
    return played, begins


def test_ten_songs_of_mixed_formats_are_one_piece(party: Party, tmp_path: Path) -> None:
    played, begins = play(party, tmp_path)
    for song, begin in begins.items():
        frames = in_stream(song.frames, song.rate)
        part = played[begin : begin + frames].astype(float)
        wanted = np.resize(tones(begin / RATE, frames, RATE, song.channels).T, (CHANNELS, frames)).T * 32768
        if song.kind == "exact":
            assert np.array_equal(part, np.round(wanted)), song
        elif song.kind == "converted":
            assert np.abs(part - wanted)[EDGE:-EDGE].max() <= STEPS, song
        else:
            fit = [np.corrcoef(part[EDGE:-EDGE, c], wanted[EDGE:-EDGE, c])[0, 1] for c in range(CHANNELS)]
            assert min(fit) > 0.99, song
    # No silence anywhere, least of all where one song follows the other: a window is a period of the left tone.
    window = round(RATE / PITCHES[0])
    periods = played[: len(played) // window * window, 0].reshape(-1, window).astype(float)
    loudness = np.sqrt((periods**2).mean(axis=1)) / (AMPLITUDE * 32768 / 2**0.5)
    assert loudness.min() > 0.8, f"at {loudness.argmin() * window / RATE:.3f} s: {begins}"
