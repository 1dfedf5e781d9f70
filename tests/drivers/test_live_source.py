import os
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.drivers import live_source
from radiosync.drivers.live_source import LiveSource, pcm_format
from radiosync.drivers.sources import is_live
from radiosync.errors import SourceError

PCM = AudioFormat(8_000, 2, SampleFormat.S16)


def everything(source, frames=300):
    blocks = []
    while (block := source.read(frames)) is not None:
        assert block.song_frame == sum(map(len, blocks))
        blocks.append(block.samples)
    source.close()
    return np.concatenate(blocks) if blocks else np.zeros((0, 2), np.int16)


def python(code):
    return f"exec:{sys.executable} -c '{code}'"


@pytest.fixture
def warnings():
    return []


def test_what_a_command_prints_is_heard(warnings, tmp_path):
    samples = np.arange(2_000, dtype=np.int16).reshape(-1, 2)
    (tmp_path / "pcm").write_bytes(samples.tobytes())
    assert np.array_equal(everything(LiveSource(f"exec:cat {tmp_path / 'pcm'}", PCM, warnings.append)), samples)
    assert not warnings


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_command_may_print_a_sound_file(warnings, tmp_path, subtype):
    rng = np.random.default_rng(1)
    soundfile.write(tmp_path / "a.wav", rng.uniform(-0.5, 0.5, (5_000, 2)), 44_100, subtype=subtype)
    source = LiveSource(f"exec:cat {tmp_path / 'a.wav'}", None, warnings.append)
    assert (source.format.rate, source.format.channels) == (44_100, 2)
    wanted, _ = soundfile.read(tmp_path / "a.wav", dtype=source.format.sample.dtype.name)
    assert np.array_equal(everything(source), wanted)


def test_standard_input(warnings, monkeypatch):
    samples = np.arange(400, dtype=np.int16).reshape(-1, 2)
    read, write = os.pipe()
    os.write(write, samples.tobytes() + b"odd")
    os.close(write)
    with os.fdopen(read, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert np.array_equal(everything(LiveSource("-", PCM, warnings.append)), samples), "half a frame is nobody's"


def test_it_waits_for_a_slow_one_and_comes_back_when_told(warnings):
    source = LiveSource(python("import time; time.sleep(60)"), PCM, warnings.append)
    threading.Timer(0.3, source.interrupt).start()
    began = time.monotonic()
    assert source.read(100) is None
    assert time.monotonic() - began < 20
    source.close()
    assert source._process.poll() is not None, "the command is ended with it"


def test_a_command_that_fails_is_started_again(warnings, tmp_path, monkeypatch):
    monkeypatch.setattr(live_source, "RETRY_S", (0.01,))
    code = (
        f'import os, sys; p = "{tmp_path / "runs"}"; n = os.path.exists(p); open(p, "w"); '
        "sys.stdout.buffer.write(bytes([n]) * 400); sys.exit(0 if n else 3)"
    )
    heard = everything(LiveSource(python(code), PCM, warnings.append))
    assert heard.tobytes() == bytes(400) + b"\x01" * 400
    assert len(warnings) == 1
    assert "status 3" in warnings[0]


@pytest.mark.parametrize(
    ("source", "pcm", "said"),
    [
        ("exec:no-such-program-of-ours", PCM, "is it installed"),
        ("exec:'unbalanced", PCM, "can't be started"),
        ("exec:", PCM, "can't be started"),
        (python("print(1)"), None, "is no sound file"),
    ],
)
def test_what_can_t_be_played_is_one_line(warnings, source, pcm, said):
    with pytest.raises(SourceError, match=said) as error:
        LiveSource(source, pcm, warnings.append)
    assert "\n" not in str(error.value)


def test_options_name_the_raw_format():
    assert pcm_format(48_000, 0, "s24") == AudioFormat(48_000, 2, SampleFormat.S24)
    assert pcm_format(0, 2, "s16") is None
    with pytest.raises(SourceError, match=r"mp3.*s16, s24, s32, f32"):
        pcm_format(48_000, 2, "mp3")


@pytest.mark.parametrize(
    ("source", "live"),
    [
        *(("-", True), ("exec:x", True), ("device", True), ("device:2", True)),
        *(("a.wav", False), ("./-", False), ("./device", False), ("devices", False)),
    ],
)
def test_live_or_not(source, live):
    assert is_live(source) == live
