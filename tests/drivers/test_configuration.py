"""Each key that a driver obeys, by what it opens or says: with the default instead, every test here fails."""

import sys

import numpy as np
import pytest
import soundfile

from radiosync import cli
from radiosync.audio.codec import Codec
from radiosync.config import Config
from radiosync.drivers import listener_driver, output_search
from radiosync.drivers.file_sinks import NullSink, WavSink
from radiosync.drivers.interfaces import LOOPBACK, Interface
from radiosync.drivers.listener_driver import ListenerDriver
from radiosync.drivers.memory_file import MemoryFile
from radiosync.drivers.sources import open_source
from radiosync.ui import listen as listen_command
from radiosync.units import NS_PER_MS

LO = Interface(LOOPBACK, "lo")


# --- a source ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(tmp_path):
    """Return what opens two short songs of 44.1 kHz in stereo with keys of one's own."""
    names = [str(tmp_path / name) for name in ("a.wav", "b.wav")]
    for name in names:
        soundfile.write(name, np.ones((1000, 2), np.int16), 44_100)
    return lambda **keys: open_source(names, Config.load(None, keys), "s16", lambda text: None)


def test_rate_and_channels_are_the_stream_s(opened):
    source = opened(**{"host.rate": 48_000, "host.channels": 1})
    assert (source.format.rate, source.format.channels) == (48_000, 1)


def test_loop_begins_again_after_the_last_song(opened):
    source = opened(**{"host.loop": True})
    assert [source.read(1000).song.song_id for _ in range(6)] == [1, 2, 3, 4, 5, 6]


def test_predictive_buffering_opens_the_next_song_ahead(opened):
    for ahead in (True, False):
        source = opened(**{"radio_sync.predictive_buffering": ahead})
        source.read(500)
        assert (source._prepared is not None) == ahead


# --- a host -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "codec"),
    [
        ({"host.codec": "pcm"}, Codec.PCM),
        ({"host.codec": "flac"}, Codec.FLAC),
        ({"radio_sync.enable_compression": False}, Codec.PCM),
        ({"radio_sync.enable_compression": True}, Codec.FLAC),
    ],
)
def test_codec_and_enable_compression_are_how_chunks_are_coded(make_host, keys, codec):
    host = make_host(**keys)
    for _ in range(2000):
        host._turn(host._clock.now(), lambda event: None)
        chunk = host.session.sender._prebuffer.first()
        if chunk is not None:
            break
        host._waiter.wait(5 * NS_PER_MS)
    assert chunk.header.codec == codec


def test_control_is_where_orders_are_taken(make_host):
    assert make_host(**{"host.control": ""})._control_thread is None


# --- a listener -------------------------------------------------------------------------------------------------------


class Recorder:
    """Stands in for a sound device, and keeps what it was made with."""

    def __init__(self, config, resync_ns, memory, found, record, wake):
        self.made_with = (config, resync_ns)

    def stats(self):
        return {}

    def learnt(self):
        return None

    def close(self):
        pass


@pytest.fixture
def listen(monkeypatch, tmp_path):
    """Return what makes a listener with keys of one's own."""
    monkeypatch.setattr(listener_driver, "DeviceSink", Recorder)
    monkeypatch.setattr(output_search, "raise_priority", lambda: "normal")
    monkeypatch.setattr(output_search, "find_output", lambda wanted: None)
    made = []

    def make(**keys):
        usual = {"network.group": "239.255.201.16", "listener.output": "null"}
        made.append(ListenerDriver(Config.load(None, usual | keys), LO, "listener", None, MemoryFile(None, print)))
        return made[-1]

    yield make
    for driver in reversed(made):
        driver.close()


def test_output_is_where_the_music_goes(listen, tmp_path):
    assert isinstance(listen(**{"listener.output": "null"})._sink, NullSink)
    assert isinstance(listen(**{"listener.output": f"wav:{tmp_path / 'a.wav'}"})._sink, WavSink)


def test_a_device_is_told_of_resync_threshold_and_the_listener_s_keys(listen):
    keys = {"listener.output": "device:9", "radio_sync.resync_threshold": 7.0, "listener.volume": 30.0}
    config, resync_ns = listen(**keys)._device.made_with
    assert resync_ns == 7 * NS_PER_MS
    assert (config.output, config.volume) == ("device:9", 30.0)


def test_host_is_asked_instead_of_the_group(listen):
    assert listen(**{"listener.host": "127.0.0.5"})._anyone[0] == "127.0.0.5"


# --- the command line -------------------------------------------------------------------------------------------------


class Enough(Exception):  # noqa: N818  # no error: it stops the command where enough has been seen
    pass


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Return what runs a command up to the call of a function, and gives the arguments of that."""

    def run(text, words, owner, name):
        def stop(*args):
            raise Enough(*args)

        (tmp_path / "c.toml").write_text(text)
        monkeypatch.setattr(owner, name, stop)
        monkeypatch.setattr(sys, "argv", ["radiosync", *words, "--config", str(tmp_path / "c.toml")])
        with pytest.raises(Enough) as stopped:
            cli.main()
        return stopped.value.args

    return run


@pytest.mark.parametrize(
    ("words", "owner", "name"),
    [(["listen"], listen_command, "find_interface"), (["host", "--source", "x"], cli, "find_interfaces")],
)
def test_interface_is_where_everything_goes(command, words, owner, name):
    assert command('network.interface = "tun7"', words, owner, name)[0] == "tun7"


def test_name_is_what_a_listener_is_called(command, monkeypatch):
    monkeypatch.setattr(listen_command, "find_interface", lambda interface, group, host: LO)
    args = command('listener.name = "attic"', ["listen", "--output", "null"], listener_driver, "ListenerDriver")
    assert args[2] == "attic"
