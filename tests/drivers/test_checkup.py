"""What the doctor looks at, where it is not as it should be."""

from types import SimpleNamespace

import ntplib
import pytest

from radiosync.config import NetworkConfig
from radiosync.drivers import checkup, udp
from radiosync.drivers.checkup import Verdict
from radiosync.drivers.interfaces import LOOPBACK, Interface
from radiosync.errors import DeviceError, NetworkError
from radiosync.units import NS_PER_MS, NS_PER_S

LO = Interface(LOOPBACK, "lo")
NETWORK = NetworkConfig(group="239.255.99.7")


def test_multicast_comes_back_on_the_loopback_interface():
    assert checkup.check_multicast(LO, NETWORK).verdict is Verdict.GOOD


def test_multicast_that_is_swallowed_is_told(monkeypatch):
    monkeypatch.setattr(udp.Port, "send", lambda *_: False)
    monkeypatch.setattr(checkup, "ECHO_NS", 20 * NS_PER_MS)
    finding = checkup.check_multicast(LO, NETWORK)
    assert finding.verdict is Verdict.BAD
    assert "firewall" in finding.mend


def test_a_group_that_can_t_be_joined_is_told(monkeypatch):
    def refuse(*_):
        raise NetworkError("group 239.255.99.7: no such device; name another")

    monkeypatch.setattr(checkup, "open_group", refuse)
    assert "no such device" in checkup.check_multicast(LO, NETWORK).says


def test_a_small_receive_buffer_is_a_note_with_its_mend(monkeypatch):
    monkeypatch.setattr(udp.Port, "receive_buffer", 212_992)
    finding = checkup.check_receive_buffer(LO)
    assert finding.verdict is Verdict.NOTE
    assert "208 KiB of 4096" in finding.says
    monkeypatch.setattr(udp.Port, "receive_buffer", udp.RECEIVE_BUFFER)
    assert checkup.check_receive_buffer(LO).verdict is Verdict.GOOD


@pytest.mark.skipif(not udp.KERNEL_STAMPS, reason="this system stamps no datagrams")
def test_kernel_stamps_are_seen_and_missed(monkeypatch):
    assert checkup.check_stamps(LO).verdict is Verdict.GOOD
    monkeypatch.setattr(udp, "KERNEL_STAMPS", False)
    monkeypatch.setattr(checkup, "ECHO_NS", 20 * NS_PER_MS)
    assert checkup.check_stamps(LO).verdict is Verdict.NOTE


@pytest.mark.parametrize(("late_ns", "verdict"), [(NS_PER_MS, Verdict.GOOD), (60 * NS_PER_MS, Verdict.BAD)])
def test_late_wake_ups_are_told(monkeypatch, late_ns, verdict):
    now = [0]

    def nap(_r, _w, _x, timeout_s):
        now[0] += round(timeout_s * NS_PER_S) + late_ns

    monkeypatch.setattr(checkup, "local_now", lambda: now[0])
    monkeypatch.setattr(checkup, "select", SimpleNamespace(select=nap))
    finding = checkup.check_wake_ups()
    assert finding.verdict is verdict
    assert f"one in a hundred {late_ns / 1000:.0f} µs" in finding.says


def test_a_missing_device_is_told_as_listen_would(monkeypatch):
    def refuse():
        raise DeviceError("PortAudio is not installed: install it")

    monkeypatch.setattr(checkup, "load_portaudio", refuse)
    finding = checkup.check_device("")
    assert finding.verdict is Verdict.BAD
    assert "PortAudio is not installed" in finding.says


@pytest.mark.parametrize(("apart_s", "verdict"), [(0.0, Verdict.GOOD), (0.004, Verdict.BAD)])
def test_an_ntp_client_that_disagrees_is_told(monkeypatch, apart_s, verdict):
    class Client:
        def request(self, *_, **__):
            return SimpleNamespace(offset=0.25 + apart_s, delay=0.001)

    monkeypatch.setattr(ntplib, "NTPClient", Client)
    finding = checkup._ask_ntplib((LOOPBACK, 9), NS_PER_S // 4, 10_000)
    assert finding.verdict is verdict
    assert f"{apart_s * 1e6:.0f} µs" in finding.says


def test_a_clock_that_nobody_can_ask_is_told(monkeypatch):
    class Client:
        def request(self, *_, **__):
            raise ntplib.NTPException("No response received")

    monkeypatch.setattr(ntplib, "NTPClient", Client)
    finding = checkup._ask_ntplib((LOOPBACK, 9), 0, 0)
    assert (finding.verdict, finding.says) == (Verdict.BAD, "ntplib gets no answer")
