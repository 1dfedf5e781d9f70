"""A listener whose link carries a quarter of the stream steps down and plays on; the one beside it hears every bit."""

from pathlib import Path

import numpy as np
from party import ENDED, Party, assert_same, read_wav, write_song

AUDIO = (44_100, 2, "PCM_16")
SECONDS = 40


def test_a_throttled_listener_plays_on_in_a_lower_quality(party: Party, tmp_path: Path) -> None:
    source = write_song(tmp_path / "song.wav", *AUDIO, SECONDS)
    throttle = tmp_path / "throttle"
    narrow = party.listener(impair={"seed": 1, "throttle": str(throttle), "kbps": 300})
    free = party.listener()
    host = party.host(tmp_path / "song.wav", args=["--buffer", "12"])
    narrow.wait_stats(lambda record: record.get("buffer_s", 0) > 10)
    throttle.touch()
    narrow.wait_line(r"^quality: (opus|reduced).*kbit/s")
    for listener in (narrow, free):
        listener.wait_line(ENDED)
        assert listener.stop() == 0
    assert host.wait_end() == 0
    assert free.wav is not None
    assert_same(read_wav(free.wav, *AUDIO), source, free)
    assert {record.get("tier", 0) for record in free.stats()} == {0}
    last = [record for record in narrow.stats() if "frames_concealed" in record][-1]
    assert last["frames_concealed"] == 0, narrow.text
    assert {record.get("tier", 0) for record in narrow.stats()} - {0}
    assert narrow.wav is not None
    heard = read_wav(narrow.wav, *AUDIO)
    assert heard.shape == source.shape
    assert not np.array_equal(heard, source), "the link was not narrow"
    second = AUDIO[0]
    for begin in range(0, len(source) - second, second):  # never another place, and never far off
        there = source[begin : begin + second].astype(np.float64)
        here = heard[begin : begin + second].astype(np.float64)
        assert np.corrcoef(there.ravel(), here.ravel())[0, 1] > 0.9, begin / second
