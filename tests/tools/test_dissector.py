"""The Wireshark dissector, fed with a capture of the golden datagrams, says what the code says."""

import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from radiosync.wire import ntp
from radiosync.wire.codec import decode
from radiosync.wire.fields import UNKNOWN
from radiosync.wire.messages import Kind

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "wire" / "golden"
NAMES = ["announce", "song", "audio", "parity", "bye", "sync", "solo", "solicit", "nack", "report", "leave"]
RENAMED = {("song", "frames"): "song_frames", ("sync", "reason"): "sync_reason"}
TSHARK = shutil.which("tshark")

pytestmark = pytest.mark.skipif(TSHARK is None, reason="tshark (Wireshark on the command line) is not installed")


def golden(name):
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text(encoding="ascii"))


def capture(datagrams):
    """Return a pcap file of (source port, target port, data); its link type is raw IP (101)."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)
    for number, (source, target, data) in enumerate(datagrams):
        udp = struct.pack("!HHHH", source, target, 8 + len(data), 0) + data
        addresses = bytes([10, 0, 0, 1]), bytes([239, 255, 77, 77])
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number, 0, 1, 17, 0, *addresses) + udp
        out += struct.pack("<IIII", 1_795_000_000, number, len(ip), len(ip)) + ip
    return out


def run(path, *arguments):
    command = [TSHARK, "-n", "-r", str(path), "-X", f"lua_script:{ROOT / 'tools' / 'radiosync.lua'}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    # Tables would be filled in vain if the script died half-way: tshark goes on without it.
    assert "Lua" not in done.stderr, done.stderr
    return done.stdout


def dissected(path, datagrams, *arguments):
    """Return of each datagram a list of (field, value), in order, or None where it was not taken for ours."""
    path.write_bytes(capture(datagrams))
    packets = json.loads(run(path, "-T", "json", "--no-duplicate-keys", *arguments))
    return [fields_of(packet["_source"]["layers"].get("radiosync")) for packet in packets]


def fields_of(tree):
    if tree is None:
        return None
    found = []

    def walk(node):
        if isinstance(node, list):
            for each in node:
                walk(each)
        elif isinstance(node, dict):
            for key, value in node.items():
                for one in value if isinstance(value, list) else [value]:
                    if isinstance(one, str):
                        found.append((key.removeprefix("radiosync."), one))
                    else:
                        walk(one)

    walk(tree)
    return found


@pytest.fixture(scope="module")
def goldens(tmp_path_factory):
    path = tmp_path_factory.mktemp("capture") / "golden.pcap"
    return dict(zip(NAMES, dissected(path, [(4_000, 45_450, golden(name)) for name in NAMES]), strict=True))


def number(shown):
    return int(shown, 16) if shown.startswith("0x") else int(shown)


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_is_recognised(goldens, name):
    found = dict(goldens[name])
    assert number(found["kind"]) == (Kind.AUDIO if name == "parity" else Kind[name.upper()])
    assert number(found["session"]) == decode(golden(name)).session
    assert not [key for key in found if "malformed" in key or "bad_crc" in key]


@pytest.mark.parametrize("name", ["announce", "song", "audio", "parity", "bye", "sync", "solicit", "report", "leave"])
def test_every_field_has_the_value_that_the_code_reads(goldens, name):
    message = decode(golden(name))
    found = dict(goldens[name])
    compared = 0
    for part in (message, getattr(message, "chunk", None), getattr(message, "format", None)):
        for attribute in getattr(part, "__slots__", getattr(part, "__dataclass_fields__", ())):
            value = getattr(part, attribute)
            shown = found.get(RENAMED.get((name, attribute), attribute))
            if isinstance(value, str):
                assert (shown or "") == value, attribute
            elif isinstance(value, int):
                assert number(shown) == value, attribute
            elif value is None:
                assert number(shown) == UNKNOWN, attribute
            else:
                continue
            compared += 1
    assert compared >= 2
    if hasattr(message, "timeline"):
        for attribute in ("version", "epoch", "state", "media_frame", "effective_at"):
            assert number(found[f"timeline.{attribute}"]) == getattr(message.timeline, attribute)


def test_the_entries_of_a_nack(goldens):
    found = goldens["nack"]
    entries = decode(golden("nack")).entries
    assert [number(v) for k, v in found if k == "seq"] == [e.seq for e in entries]
    assert [number(v) for k, v in found if k == "run"] == [e.run for e in entries]
    bitmaps = [int.from_bytes(bytes.fromhex(v.replace(":", "")), "little") for k, v in found if k == "bitmap"]
    assert bitmaps == [e.bitmap for e in entries if e.bitmap]


def test_the_stretches_of_a_solo(goldens):
    found = goldens["solo"]
    entries = decode(golden("solo")).entries
    for field in ("listener_id", "first_frame", "frames"):
        assert [number(v) for k, v in found if k == f"solo.{field}"] == [getattr(e, field) for e in entries]


def test_damage_is_shown_and_nothing_crashes(tmp_path):
    whole = golden("audio")
    damaged = bytearray(whole)
    damaged[120] ^= 1
    short = [golden(name)[:length] for name in NAMES for length in range(16, min(130, len(golden(name))), 3)]
    datagrams = [(1, 45_450, bytes(damaged)), *((1, 45_450, data) for data in short)]
    found = dissected(tmp_path / "damaged.pcap", datagrams)
    assert all(each is not None for each in found)
    keys = [{key for key, _ in each} for each in found]
    assert any("bad_crc" in key for key in keys[0])
    assert not any("malformed" in key for key in keys[0])
    assert all(any("bad_crc" in key for key in each) for each in keys)
    # A NACK that ends after an entry is whole.
    wholes = sum(not any("malformed" in key for key in each) for each in keys[1:])
    assert wholes <= 2


def test_other_ports_and_other_protocols(tmp_path):
    path = tmp_path / "ports.pcap"
    datagrams = [
        (5_000, 45_451, golden("nack")),
        (40_001, 40_000, golden("song")),
        (40_001, 40_000, b"RS\2\3" + bytes(60)),
        (40_001, 45_450, b"hello"),
    ]
    by_port_only = ["--disable-heuristic", "radiosync_udp"]

    def recognised(*arguments):
        return [found is not None for found in dissected(path, datagrams, *arguments)]

    assert recognised() == [True, True, False, False]
    assert recognised(*by_port_only) == [True, False, False, False]
    assert recognised(*by_port_only, "-o", "radiosync.port:40000") == [False, True, False, False]


def test_the_clock_is_shown_as_ntp(tmp_path):
    path = tmp_path / "clock.pcap"
    path.write_bytes(capture([(5_000, 45_452, ntp.request(7))]))
    assert "NTP" in run(path)


def test_the_summary_says_what_matters(tmp_path):
    path = tmp_path / "golden.pcap"
    path.write_bytes(capture([(4_000, 45_450, golden(name)) for name in NAMES]))
    lines = run(path).splitlines()
    for line, text in zip(
        lines,
        [
            "ANNOUNCE Küche (answer), 44100 Hz, 2 ch, due 263, sent before 352",
            "SONG 5: Für Elise, Ludwig van Beethoven",
            "AUDIO 263, symbol 2 of 3 (repair), FLAC, tier 1",
            "AUDIO 263, symbol 4 of 3 (parity) (repair), FLAC, tier 1",
            "BYE ENDED",
            "SYNC PREPARE frame 17563410: waiting for Bad",
            "SOLO 2 stretches",
            "SOLICIT",
            "NACK 263: 0 2; 265 to 276 of tier 3; 288: 0 8 43",
            "REPORT Bad, PLAYING, 44321 ms, lost 321, repaired 320",
            "LEAVE",
        ],
        strict=True,
    ):
        assert text in line
