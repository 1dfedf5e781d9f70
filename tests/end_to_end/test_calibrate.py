"""A calibration with real processes: two rooms 7.3 ms apart are found to be, from a recording of both."""

import json
import re

import numpy as np
import pytest
import soundfile
from party import RADIOSYNC, Process, run

from radiosync.audio.probe import make_plan, play

RATE = 48_000
OFFSET_MS = 7.3
ATTEMPTS = 3  # a machine that is too busy loses frames, which is said
TOLERANCE_MS = 0.5  # of when a busy machine hands over blocks, by which the two files are laid together


def placed(listener):
    """Return what a listener played, and when its first frame was handed over, in seconds."""
    samples, rate = soundfile.read(listener.wav)
    assert rate == RATE
    points = [s for s in listener.stats() if s.get("emitted_at")]
    # Blocks are handed over late, never early.
    return samples, min(s["emitted_at"] / 1e9 - s["emitted_frame"] / RATE for s in points)


def in_a_room(listeners, seed):
    """Return what a microphone hears of all of them, each by its own reflections, and some noise."""
    rng = np.random.default_rng(seed)
    heard = [placed(listener) for listener in listeners]
    began_s = min(at for _, at in heard) - 1.0
    mix = np.zeros(max(round((at - began_s) * RATE) + len(s) for s, at in heard) + RATE)
    for samples, at in heard:
        response = np.zeros(RATE // 4)
        response[0] = 1.0
        response[rng.integers(50, 1500, 6)] += rng.uniform(-0.8, 0.8, 6)
        n = 1 << (len(samples) + len(response)).bit_length()
        wet = np.fft.irfft(np.fft.rfft(samples, n) * np.fft.rfft(response, n), n)[: len(samples) + len(response)]
        begin = round((at - began_s) * RATE)
        mix[begin : begin + len(wet)] += wet[: len(mix) - begin]
    return 0.3 * mix + rng.normal(0, 0.005, len(mix))


def row(text, name):
    found = re.search(rf"^{name} +([+-][\d.]+) ms +([\d.]+) ms +(\d+) dB +(\d)/(\d)  (.*)$", text, re.MULTILINE)
    assert found, text
    return found


def test_two_rooms_are_measured(party, tmp_path):
    plan = tmp_path / "plan.json"
    rooms = [
        party.listener(args=["--name", name, "--offset-ms", str(offset)])
        for name, offset in (("kitchen", 0), ("bedroom", OFFSET_MS))
    ]
    player = Process([RADIOSYNC, "calibrate", "--rounds", "2", "--plan", str(plan), *party.place], None)
    try:
        assert player.wait_end() == 0, player.text
    finally:
        player.destroy()
    assert "start recording NOW" in player.text
    assert f"radiosync calibrate --recording FILE --plan {plan}" in player.text
    for room in rooms:
        room.wait_line("the stream has ended")
        room.stop()
    told = json.loads(plan.read_text())
    assert [each["name"] for each in told["listeners"]] == ["bedroom", "kitchen"]
    assert [each["offset_ms"] for each in told["listeners"]] == [OFFSET_MS, 0]

    # In each turn one of the files holds sound and the other nothing at all; in the turns of nobody, neither.
    for turn in told["turns"]:
        part = slice(turn["frame"], turn["frame"] + told["turn_frames"])
        sounds = [bool(soundfile.read(room.wav, dtype="int16")[0][part].any()) for room in reversed(rooms)]
        assert sounds == [turn["listener"] == number for number in range(2)]

    recording = tmp_path / "phone.wav"
    soundfile.write(recording, in_a_room(rooms, 3), RATE, subtype="PCM_16")
    done = run("calibrate", "--recording", str(recording), "--plan", str(plan))
    assert done.returncode == 0, done.stderr
    kitchen, bedroom = row(done.stderr, "kitchen"), row(done.stderr, "bedroom")
    assert float(kitchen[1]) == 0
    assert float(bedroom[1]) == pytest.approx(OFFSET_MS, abs=TOLERANCE_MS)
    assert kitchen[4] == bedroom[4] == kitchen[5] == "2"
    assert kitchen[6] == "0, as it is"
    cure = re.fullmatch(rf"(-?[\d.]+) instead of {OFFSET_MS}", bedroom[6])
    assert cure
    assert float(cure[1]) == pytest.approx(0, abs=TOLERANCE_MS)


def test_an_input_is_recorded_meanwhile(party, tmp_path, cards, monkeypatch):
    """The card at the input hears, whatever is played, the sound of two rooms 5 ms apart."""
    plan = make_plan(2, 2)
    sweeps = play(plan)[:, 0]
    heard = np.zeros(60 * RATE, np.int16)
    for number, delay in enumerate((0, 240)):
        own = sweeps.copy()
        for turn in plan.turns:
            if turn.listener != number:
                own[turn.frame : turn.frame + plan.turn_frames] = 0
        begin = 9 * RATE + delay  # by then listeners have been gathered; one of the two markers is enough
        heard[begin : begin + len(own)] += own
    card_rate = 44_100  # what PortAudio takes for a card that can do any
    at = np.arange(round(len(heard) * card_rate / RATE)) * RATE / card_rate
    np.interp(at, np.arange(len(heard)), heard).astype("<i2").tofile(tmp_path / "sound.s16")
    for name, value in cards.set_up(tmp_path / "card", 200, sound=tmp_path / "sound.s16").items():
        monkeypatch.setenv(name, value)
    for name in ("bath", "den"):
        party.listener("null", args=["--name", name])
    options = ["--rounds", "2", "--plan", str(tmp_path / "plan.json"), "--input", "device"]
    for _ in range(ATTEMPTS):
        done = run("calibrate", *options, *party.place)
        if "has gaps" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    assert "start recording" not in done.stderr
    assert float(row(done.stderr, "bath")[1]) == 0
    assert float(row(done.stderr, "den")[1]) == pytest.approx(5.0, abs=0.05)
    assert row(done.stderr, "den")[6].startswith("-5.0")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--recording", "there-is-none.wav"], "no plan of a calibration there"),
        (["--recording", "x.wav", "--input", "device"], "give one of them"),
        (["--input", "wav:x"], "must be device"),
        (["--rounds", "1"], "must be 2 to 8"),
        (["--plan", "not-json", "--recording", "x.wav"], "is no plan of a calibration"),
    ],
)
def test_mistakes_are_one_line(tmp_path, party, args, words):
    (tmp_path / "not-json").write_text("{}")
    done = run("calibrate", *args, *party.place, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("radiosync: ")
    assert words in line
