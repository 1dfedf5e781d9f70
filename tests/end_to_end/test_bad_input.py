"""Whatever a person gets wrong at the start is one clear line on stderr, and exit status 2."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from party import ENDED, Party, assert_same, read_wav, run, write_song

AUDIO = (44_100, 2, "PCM_16")
LO = ["--interface", "lo"]
NOWHERE = [*LO, "--duration", "0"]  # what should have been refused ends at once
WAV_HEADER_BYTES = 44


def refusal(*args: str, **options: object) -> str:
    """Run radiosync, see that it refuses properly, and return its one line."""
    done = run(*args, **options)
    said = done.stderr
    assert done.returncode == 2, f"exit status {done.returncode}\n{said}"
    assert "Traceback" not in said
    assert said.endswith("\n")
    assert said.count("\n") == 1, said
    assert said.startswith("radiosync: ")
    assert done.stdout == ""
    return said.strip()


# --- sources ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def song(tmp_path: Path) -> Path:
    write_song(tmp_path / "song.wav", *AUDIO, 0.5)
    return tmp_path / "song.wav"


def test_a_missing_file(tmp_path: Path) -> None:
    line = refusal("host", "--source", str(tmp_path / "nosuch.flac"), *NOWHERE)
    assert "nosuch.flac" in line
    assert "no such file" in line


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can read everything")
def test_a_file_that_may_not_be_read(song: Path) -> None:
    song.chmod(0)
    line = refusal("host", "--source", str(song), *NOWHERE)
    assert "song.wav" in line
    assert "ermission" in line


def cut_in_the_header(song: Path) -> None:
    song.write_bytes(song.read_bytes()[: WAV_HEADER_BYTES // 2])


def cut_after_the_header(song: Path) -> None:
    song.write_bytes(song.read_bytes()[:WAV_HEADER_BYTES])


BROKEN: dict[str, Callable[[Path], object]] = {
    "empty": lambda song: song.write_bytes(b""),
    "cut in the header": cut_in_the_header,
    "cut after the header": cut_after_the_header,
    "text": lambda song: song.write_text("This is no music.\n" * 100),
    "zeros": lambda song: song.write_bytes(bytes(100_000)),
    "noise": lambda song: song.write_bytes(np.random.default_rng(1).bytes(100_000)),  # looks like an MP3 for a while
    "no frames": lambda song: soundfile.write(song, np.zeros((0, 2), np.int16), 44_100),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_without_music(kind: str, song: Path) -> None:
    BROKEN[kind](song)
    assert "song.wav" in refusal("host", "--source", str(song), *NOWHERE)


def test_names_of_several_lines_and_of_none(tmp_path: Path) -> None:
    assert r"no\nsuch" in refusal("host", "--source", str(tmp_path / "no\nsuch"), *NOWHERE)
    assert "without a name" in refusal("host", "--source", "", *NOWHERE)


def test_a_folder_without_music(tmp_path: Path) -> None:
    (tmp_path / "cover.jpg").write_bytes(b"x")
    assert "without music" in refusal("host", "--source", str(tmp_path), *NOWHERE)


def test_a_playlist_of_nothing_that_plays(tmp_path: Path) -> None:
    (tmp_path / "list.m3u").write_text("gone.wav\n")
    done = run("host", "--source", str(tmp_path / "list.m3u"), *NOWHERE)
    assert done.returncode == 2
    warning, error = done.stderr.splitlines()
    assert re.match(r"warning: .*gone\.wav.*no such file", warning)
    assert re.match(r"radiosync: .*list\.m3u", error)


def test_a_network_address(tmp_path: Path) -> None:
    assert "network address" in refusal("host", "--source", "https://example.com/a.mp3", *NOWHERE)


def test_a_broken_playlist_entry_is_skipped_and_the_rest_played(party: Party, tmp_path: Path) -> None:
    sources = [write_song(tmp_path / f"{number}.wav", *AUDIO, 0.7, seed=number) for number in (1, 2)]
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but not really")
    (tmp_path / "list.m3u").write_text("1.wav\ngone.wav\nbroken.wav\n2.wav\n")
    listener = party.listener()
    host = party.host(tmp_path / "list.m3u")
    listener.wait_line(ENDED)
    assert host.wait_end() == 0
    assert listener.stop() == 0
    assert listener.wav is not None
    assert_same(read_wav(listener.wav, *AUDIO), np.concatenate(sources))
    warnings = [line for _, line in host.lines if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert "gone.wav" in warnings[0]
    assert "broken.wav" in warnings[1]


# --- network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["10.0.0.1", "224.0.0.1", "radio", "239.255.1", ""])
def test_a_group_that_is_not_multicast(group: str, song: Path) -> None:
    for command in (["host", "--source", str(song)], ["listen", "--output", "null"]):
        line = refusal(*command, "--group", group, *NOWHERE)
        assert "network.group" in line
        assert "multicast" in line


def test_an_unknown_interface(song: Path) -> None:
    for interface in ("nosuch0", "203.0.113.7"):
        for command in (["host", "--source", str(song)], ["listen", "--output", "null"]):
            line = refusal(*command, "--interface", interface, "--duration", "0")
            assert interface in line
            assert "lo (127.0.0.1)" in line


@pytest.mark.parametrize("name", ["a" * 64, "den..local"])
def test_a_host_that_cannot_be_found(name: str) -> None:
    """Names that no resolver takes, so that nobody is asked."""
    assert f"host {name}: " in refusal("listen", "--output", "null", "--host", name, *NOWHERE)


@pytest.mark.parametrize("which", ["control_port", "clock_port"])
def test_a_port_in_use(which: str, party: Party, song: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", getattr(party, which)))
        line = refusal("host", "--source", str(song), *party.place, "--duration", "0")
    assert str(getattr(party, which)) in line
    assert "--port" in line


def test_a_group_port_that_another_program_keeps_for_itself(party: Party) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", party.port))
        line = refusal("listen", "--output", "null", *party.place, "--duration", "0")
    assert str(party.port) in line


def test_a_second_host_on_the_same_ports(party: Party, song: Path) -> None:
    party.host(song, args=["--loop"])
    assert str(party.control_port) in refusal("host", "--source", str(song), *party.place, "--duration", "0")


@pytest.mark.parametrize("port", ["0", "65534", "-1", "99999999999999999999"])
def test_an_impossible_port(port: str) -> None:
    assert "port" in refusal("listen", "--output", "null", "--port", port, *NOWHERE)


# --- outputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["nosuch/out.wav", "."])
def test_a_wav_file_that_cannot_be_written(path: str, tmp_path: Path) -> None:
    line = refusal("listen", "--output", f"wav:{tmp_path / path}", *NOWHERE)
    assert str(tmp_path / path) in line
    assert "WAV" in line


@pytest.mark.parametrize("output", ["wav:", "wav", "mp3:x", "pipe:", ""])
def test_an_unknown_output(output: str) -> None:
    assert "listener.output" in refusal("listen", "--output", output, *NOWHERE)


def test_statistics_that_cannot_be_written(tmp_path: Path) -> None:
    path = str(tmp_path / "nosuch" / "stats.json")
    assert path in refusal("listen", "--output", "null", "--stats-json", path, *NOWHERE)


def with_sounddevice(tmp_path: Path, source: str) -> dict[str, str]:
    """Return an environment in which `sounddevice` is this module."""
    (tmp_path / "sounddevice.py").write_text(source)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_no_portaudio(tmp_path: Path) -> None:
    env = with_sounddevice(tmp_path, 'raise OSError("PortAudio library not found")\n')
    line = refusal("listen", *NOWHERE, env=env)
    assert "libportaudio2" in line
    assert "--output wav:" in line
    assert "libportaudio2" in refusal("devices", env=env)
    line = refusal("host", "--source", "device", *NOWHERE, env=env)
    assert "libportaudio2" in line
    assert "exec:arecord" in line


DEVICES = """
class PortAudioError(Exception): pass
class default: device = (-1, 0)
def query_hostapis(): return [{"name": "Stub"}]
def query_devices():
    return [{"name": name, "hostapi": 0, "max_output_channels": 2, "default_samplerate": 48000.0,
             "default_low_output_latency": 0.01, "default_high_output_latency": 0.1} for name in NAMES]
"""


def test_an_unknown_device(tmp_path: Path) -> None:
    env = with_sounddevice(tmp_path, 'NAMES = ["Kitchen", "Hall"]\n' + DEVICES)
    for device in ("Cellar", "7"):
        line = refusal("listen", "--output", f"device:{device}", *NOWHERE, env=env)
        assert device in line
        assert "0: Kitchen, 1: Hall" in line


def test_no_device_at_all(tmp_path: Path) -> None:
    env = with_sounddevice(tmp_path, "NAMES = []\n" + DEVICES)
    assert "--output wav:" in refusal("listen", *NOWHERE, env=env)


# --- configuration and options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("[radio_sync]\nbuffer_duraton = 10\n", "buffer_duration"),
        ("[radio_sink]\n", "radio_sync"),
        ("[radio_sync]\nbuffer_duration = -1\n", "radio_sync.buffer_duration = -1"),
        ('[network]\nport = "high"\n', 'network.port = "high"'),
        ("[radio_sync]\nbuffer_duration = 1\nchunk_duration = 1\n", "radio_sync.chunk_duration"),
        ("[network\n", "not valid TOML"),
        ("port = 5\n", "[network]"),
        ("\ud800\n", "not valid TOML"),
    ],
)
def test_a_bad_configuration(toml: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "radiosync.toml"
    path.write_bytes(toml.encode("utf-8", "surrogatepass"))
    line = refusal("listen", "--output", "null", "--config", str(path), *NOWHERE)
    assert str(path) in line
    assert named in line


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "nosuch.toml")
    assert path in refusal("listen", "--output", "null", "--config", path, *NOWHERE)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["listen", "--colour", "red"], "--colour"),
        (["listen", "--ouput", "null"], "--output"),
        (["host"], "--source"),
        (["host", "--source"], "--source"),
        (["listen", "--port"], "--port"),
        (["listen", "--port", "many"], "--port"),
        (["listen", "--duration", "long"], "--duration"),
        (["listen", "--duration", "nan"], "--duration"),
        (["listen", "--duration", "inf"], "--duration"),
        (["listen", "--duration", "-1"], "--duration"),
        (["listen", "--volume", "101"], "volume"),
        (["listen", "--offset-ms", "nan"], "offset_ms"),
        (["listen", "extra"], "extra"),
        (["lisen"], "lisen"),
        (["--colour"], "--colour"),
        (["host", "--source", "x", "--codec", "mp3"], "host.codec"),
        (["host", "--source", "x", "--buffer", "0"], "buffer_duration"),
        (["host", "--source", "x", "--rate", "1"], "host.rate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options(args: list[str], named: str) -> None:
    assert named in refusal(*args)


def test_help_is_no_mistake() -> None:
    for args in ([], ["--help"], ["host", "--help"], ["listen", "--help"]):
        done = run(*args)
        assert done.returncode == 0
        assert "Usage: radiosync" in done.stdout
        assert done.stderr == ""


# --- what fails later is a failed run, exit status 1 -----------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk(party: Party, song: Path) -> None:
    listener = party.listener("wav:/dev/full")
    host = party.host(song)
    assert listener.wait_end() == 1
    assert re.fullmatch(r"radiosync: /dev/full: .*No space left.*", listener.lines[-1][1])
    assert "Traceback" not in listener.text
    assert host.wait_end() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_for_the_statistics(song: Path) -> None:
    for command in (["host", "--source", str(song)], ["listen", "--output", "null"]):
        done = run(*command, "--stats-json", "/dev/full", *NOWHERE)
        assert done.returncode == 1
        assert re.search(r"^radiosync: /dev/full: .*No space left.*\n\Z", done.stderr, re.MULTILINE)
        assert "Traceback" not in done.stderr


def test_a_pipe_whose_reader_goes_away(party: Party, tmp_path: Path) -> None:
    write_song(tmp_path / "long.wav", *AUDIO, 30)
    listener = party.listener("pipe:-")
    party.host(tmp_path / "long.wav")
    listener.wait_line("playing from frame")
    listener.close_pipe()
    assert listener.wait_end() == 1
    assert "pipe" in listener.lines[-1][1]
    assert "Traceback" not in listener.text
