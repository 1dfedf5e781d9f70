"""A host that is killed and comes back in time is not missed: the output stays the source, bit for bit."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from party import ENDED, SENDING, Party, assert_same, now_ns, read_wav, write_song

AUDIO = (44_100, 2, "PCM_16")
HELD_S = 7
GOING_ON = r"^going on where a host was killed (\d+\.\d) s ago$"


def left_behind() -> list[Path]:
    return list((Path(os.environ["XDG_RUNTIME_DIR"]) / "radiosync").glob("host-*"))


def test_a_killed_host_that_comes_back_is_not_missed(party: Party, tmp_path: Path) -> None:
    songs = [write_song(tmp_path / f"{number}.wav", *AUDIO, 6, seed=number) for number in (1, 2, 3)]
    settings = tmp_path / "settings.toml"
    settings.write_text("[radio_sync]\nbuffer_duration = 12\n[host]\nfill_rate = 16\n")
    sources = [tmp_path / f"{number}.wav" for number in (1, 2, 3)]
    listeners = party.listeners(2)
    host = party.host(*sources, args=["--config", str(settings)])
    for listener in listeners:
        listener.wait_stats(lambda record: record.get("emitted_frame", 0) > 0 and record["buffer_s"] > HELD_S + 1)
    assert host.stop(signal.SIGKILL) == -signal.SIGKILL
    killed_at = now_ns()
    assert left_behind()
    again = party.host(*sources, args=["--config", str(settings)])
    back_at, _ = again.wait_line(SENDING)
    if back_at - killed_at > HELD_S * 1_000_000_000:
        pytest.skip("this machine is too busy to start a program before the listeners have played what they hold")
    again.wait_line(GOING_ON)
    late = party.listener()
    for listener in [*listeners, late]:
        listener.wait_line(ENDED)
    assert again.wait_end() == 0
    assert not left_behind(), "who ends as it should leaves nothing"
    whole = np.concatenate(songs)
    for listener in [*listeners, late]:
        assert listener.stop() == 0
        assert listener.wav is not None
        file = read_wav(listener.wav, *AUDIO)
        assert_same(file, whole[len(whole) - len(file) :], listener)
        assert listener.stats()[-1]["sessions"] == 1
