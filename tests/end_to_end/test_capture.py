"""A sound card captures, a host sends, a listener writes a file: the same sound, at the same pace.

The card is the lab's: it hands over a file's samples by a crystal that is known to be off.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from party import Listener, Party, run

from radiosync.audio.correlate import lag
from radiosync.drivers.capture_source import RING_S

RATE = 48_000
PPM = 200.0  # ten frames a second: far more than any crystal, so that a few seconds show it
SECONDS = 12.0
ATTEMPTS = 3  # a machine that is too busy loses frames, which the host says; then there is nothing to compare
LIVE = Path(__file__).parents[2] / "configs" / "live-line-in.toml"


@pytest.fixture
def sound(tmp_path: Path, cards: ModuleType, monkeypatch: pytest.MonkeyPatch) -> NDArray[Any]:
    """Make a card the machine's only one, with noise at its input that never repeats; return the noise."""
    rng = np.random.default_rng(5)
    coarse = rng.uniform(-0.5, 0.5, round(60 * RATE / 8))
    noise = np.interp(np.arange(8 * len(coarse)) / 8, np.arange(len(coarse)), coarse)
    (noise * 32_767).astype("<i2").tofile(tmp_path / "sound.s16")
    for name, value in cards.set_up(tmp_path / "card", PPM, sound=tmp_path / "sound.s16").items():
        monkeypatch.setenv(name, value)
    return noise


def capture(party: Party) -> tuple[Listener, dict[str, Any]]:
    """Send what the card captures to a listener, until it has played `SECONDS`; return it, and the host's figures."""
    listener = party.listener()
    host = party.host(Path("device"), args=["--config", str(LIVE), "--rate", str(RATE)])
    last = host.wait_stats(lambda record: record["position_s"] > SECONDS)
    assert host.stop() == 0, host.text
    assert listener.stop() == 0, listener.text
    assert "♪ default" in listener.text
    return listener, last


def test_what_a_card_captures_is_heard_at_the_media_clock_s_pace(tmp_path: Path, sound: NDArray[Any]) -> None:
    for attempt in range(ATTEMPTS):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with Party(folder) as party:
            listener, last = capture(party)
            undisturbed = not (last["source_xruns"] or last["source_gaps"] or last["source_stale_frames"])
            concealed = max(record.get("chunks_concealed", 0) for record in listener.stats())
            if undisturbed and last["source_anchored"] == 1 and not concealed:
                break
    else:
        pytest.fail(f"frames were lost in each of {ATTEMPTS} attempts: {last}")
    assert last["source_rate_ppm"] == pytest.approx(PPM, abs=5)
    assert listener.wav is not None
    heard, rate = soundfile.read(listener.wav, always_2d=True)
    assert (rate, heard.shape[1]) == (RATE, 2)
    # What the card takes in at its own pace, at the media clock's.
    n = np.arange(round(SECONDS * RATE))
    paced = np.interp(n * (1 + PPM * 1e-6), np.arange(len(sound)), sound)
    early, late = (
        lag(paced[at : at + RATE], heard[at : at + RATE, 0], RATE, span_s=0.5) for at in (3 * RATE, 9 * RATE)
    )
    assert early.correlation > 0.97
    assert late.correlation > 0.97
    assert late.frames == pytest.approx(early.frames, abs=5), "at the card's pace it would be 58 frames"


def test_what_comes_during_a_pause_passes_by(party: Party, sound: NDArray[Any]) -> None:
    host = party.host(Path("device"), args=["--config", str(LIVE)])
    host.wait_stats(lambda record: record["position_s"] > 1)
    assert run("ctl", "pause", "--host", f"127.0.0.1:{party.control_port}").returncode == 0
    paused = host.wait_stats(lambda record: record["state"] == "paused")
    host.wait_stats(lambda record: record["t"] > paused["t"] + RING_S + 2)
    assert run("ctl", "resume", "--host", f"127.0.0.1:{party.control_port}").returncode == 0
    last = host.wait_stats(lambda record: record["position_s"] > paused["position_s"] + 2)
    assert last["source_overflow_frames"] == 0, "the device's ring is emptied all the time"
    assert last["source_reopened"] == 0


def test_the_card_is_listed_and_another_is_not_there(sound: NDArray[Any]) -> None:
    listed = run("devices")
    assert listed.returncode == 0
    assert "host --source" in listed.stdout
    missing = run("host", "--source", "device:Gramophone", "--interface", "lo")
    assert missing.returncode == 2
    assert missing.stderr == "radiosync: input Gramophone: there is none of this name or number; there are 0: default\n"
