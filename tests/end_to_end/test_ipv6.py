"""A party on a group of IPv6, in a network of its own on this machine."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from party import ENDED, Party, assert_same, read_wav, write_song

AUDIO = (44_100, 2, "PCM_16")
GLOBAL, LOCAL = "fd52:5253::1", "fe80::52"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture
def network() -> Iterator[str]:
    """Make a network namespace with an interface, since the loopback interface does no multicast of IPv6."""
    if shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    name = f"radiosync6-{os.getpid()}"
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError:
        pytest.skip("this system makes no network namespaces")
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
        for link in ("lan0", "lan1"):
            ip("-n", name, "link", "set", link, "addrgenmode", "none", "up")
        for address in (GLOBAL, LOCAL):
            ip("-n", name, "-6", "addr", "add", f"{address}/64", "dev", "lan0", "nodad")
        yield name
    finally:
        ip("netns", "del", name)


@pytest.mark.parametrize(
    ("group", "at", "interface"), [("ff15::5253:1", GLOBAL, "lan0"), ("ff02::5253:1%lan0", f"{LOCAL}%lan0", "")]
)
def test_a_party_on_a_group_of_ipv6_is_bit_exact(
    group: str, at: str, interface: str, network: str, tmp_path: Path
) -> None:
    source = write_song(tmp_path / "song.wav", *AUDIO, 3)
    with Party(tmp_path, ["ip", "netns", "exec", network], group, interface) as party:
        listener = party.listener()
        asked = party.listener(args=["--host", at])
        host = party.host(tmp_path / "song.wav")
        for each in (listener, asked):
            each.wait_line(f"^host \\S+ at {at}: ")
            each.wait_line(ENDED)
            each.wait_stats(lambda record: record.get("clock") == "locked" and record["rtt_ns"] > 0)
        assert host.wait_end() == 0
        for each in (listener, asked):
            assert each.stop(signal.SIGINT) == 0
            assert each.wav is not None
            assert_same(read_wav(each.wav, *AUDIO), source, each)
