"""Loss, duplicates, wrong order and a long outage are heard by nobody while the buffer is longer than they last."""

import time
from pathlib import Path

from party import ENDED, LISTENING, Listener, Party, assert_same, now_ns, read_wav, run, write_song

AUDIO = (44_100, 2, "PCM_16")
OUTAGE_S = 20
# When the outage begins; counted are whole chunks.  The oldest hole must be due after the outage: at 2 % loss most new
# chunks have some, as old as a round of asking and a question more, while music comes at four times its speed.
BUFFERED_BEFORE_S = 31
SONG_S = 62  # a good deal more than has come by then: the rest is lost


def last_with_stream(listener: Listener) -> dict[str, float]:
    """Return the last statistics that still speak of the stream."""
    return [record for record in listener.stats() if "symbols_lost" in record][-1]


def test_loss_duplicates_and_reordering(party: Party, tmp_path: Path) -> None:
    source = write_song(tmp_path / "song.wav", *AUDIO, 8)
    listeners = [
        party.listener(impair={"seed": seed, "loss": 0.05, "duplicate": 0.02, "reorder": 0.05}, ready=False)
        for seed in (1, 2)
    ]
    for listener in listeners:
        listener.wait_line(LISTENING)
    host = party.host(tmp_path / "song.wav", args=["--codec", "pcm"])
    for listener in listeners:
        listener.wait_line(ENDED)
        assert listener.stop() == 0
        assert listener.wav is not None
        assert_same(read_wav(listener.wav, *AUDIO), source, listener)
        stats = last_with_stream(listener)
        assert stats["symbols_lost"] > 20  # of 1400
        assert stats["symbols_repaired"] > 20
        assert stats["duplicates"] > 5
        assert stats["frames_concealed"] == 0
    assert host.wait_end() == 0


def test_a_total_outage_of_20_s(party: Party, tmp_path: Path) -> None:
    source = write_song(tmp_path / "song.wav", *AUDIO, SONG_S)
    cut = tmp_path / "cut"
    listener = party.listener(impair={"seed": 3, "loss": 0.02, "outage": str(cut)})
    other = party.listener()
    host = party.host(tmp_path / "song.wav")
    listener.wait_stats(lambda record: record.get("buffer_s", 0) > BUFFERED_BEFORE_S)
    cut.touch()
    began_ns = now_ns()
    assert last_with_stream(listener)["buffer_s"] < 40, "nearly everything has arrived: nothing could be lost"
    time.sleep(OUTAGE_S)  # the outage itself is what is waited for
    cut_off = [record for record in listener.stats() if record["t"] > began_ns / 1e9 + 0.5]
    cut.unlink()
    assert len(cut_off) > OUTAGE_S // 2
    assert len({record["symbols_received"] for record in cut_off}) == 1, "the outage was none"
    listener.wait_line(ENDED)
    other.wait_line(ENDED)
    assert host.wait_end() == 0
    stats = last_with_stream(listener)
    for each in (listener, other):
        assert each.stop() == 0
        assert each.wav is not None
        assert_same(read_wav(each.wav, *AUDIO), source, each)
    assert stats["symbols_repaired"] > 200, stats
    assert stats["frames_concealed"] == 0


def test_a_short_buffer_becomes_deeper_where_music_was_missing(party: Party, tmp_path: Path) -> None:
    write_song(tmp_path / "song.wav", *AUDIO, 40)
    cut = tmp_path / "cut"
    listener = party.listener(impair={"seed": 4, "outage": str(cut)})
    host = party.host(tmp_path / "song.wav", args=["--buffer", "2"])
    listener.wait_stats(lambda record: (record.get("position_s") or 0) > 5)  # both have settled
    cut.touch()
    listener.wait_stats(lambda record: record.get("frames_concealed", 0) > 0)
    cut.unlink()
    changed = host.wait_stats(lambda record: record["buffer_target_s"] > 2)
    assert "missing when due" in changed["buffer_reason"]
    _, said = host.wait_line("  buffer (.*) s, was 2 s: (.*)")
    assert said.group(2) == changed["buffer_reason"]
    status = run("ctl", "status", "--host", f"127.0.0.1:{party.control_port}")
    assert changed["buffer_reason"] in status.stdout, status.stderr
    listener.wait_stats(lambda record: record.get("buffer_s", 0) > 2.5)
    assert host.stop() == 0
    assert listener.stop() == 0
