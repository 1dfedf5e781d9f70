"""A host with real sockets on the loopback interface, which no loop drives but the test's."""

import socket

import pytest

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.song import Song, SourceBlock
from radiosync.config import Config
from radiosync.drivers.host_driver import HostDriver
from radiosync.drivers.interfaces import LOOPBACK, Interface


class Music:
    """A source without an end."""

    format = AudioFormat(8_000, 1, SampleFormat.S16)
    live = False

    def read(self, frames_max):
        return SourceBlock(song=Song(song_id=1, title="Song"), song_frame=0, samples=self.format.silence(frames_max))

    def jump(self, song_id, step, position_s):
        raise NotImplementedError

    def queue(self, song_id):
        del song_id
        return [], None

    def stats(self):
        return {}

    def interrupt(self):
        pass

    def close(self):
        pass


@pytest.fixture
def port():
    """Return the first of three free ports in a row."""
    for number in range(33_000, 60_000, 3):
        probes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        try:
            for i, probe in enumerate(probes):
                probe.bind(("", number + i))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return number
    raise AssertionError("no free ports")


@pytest.fixture
def make_host(port):
    """Return a maker of hosts on the loopback interface."""
    hosts = []

    def make(**keys):
        usual = {"network.group": "239.255.201.16", "network.port": port, "host.control": ""}
        hosts.append(HostDriver(Config.load(None, usual | keys), Music(), (Interface(LOOPBACK, "lo"),), "host", None))
        return hosts[-1]

    yield make
    for host in reversed(hosts):
        host.close()
