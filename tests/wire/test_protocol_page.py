"""PROTOCOL.md and the code say the same: its tables are read and compared, so that the page can't go stale."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from radiosync.audio import opus
from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.config import HostConfig, NetworkConfig
from radiosync.host import announcer, coordinator, copies, listeners
from radiosync.listener import reach
from radiosync.repair import parity, request, rounds
from radiosync.timeline import RECORDS_MAX, PlayState
from radiosync.wire import announce_codec, codec, fields, limits, listener_codec, messages
from radiosync.wire.messages import ByeReason, Kind, ListenerState, SyncPhase

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "radiosync" / "wire" / "PROTOCOL.md").read_text(encoding="utf-8")

CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i32": "i", "i64": "q", "crc": "4x"}
STRUCTS = {
    "header": fields.HEADER,
    "timeline": fields.TIMELINE,
    "announce": announce_codec._ANNOUNCE,
    "tier_offer": announce_codec._TIER,
    "song": announce_codec._SONG,
    "audio": codec._CHUNK,
    "bye": codec._BYE,
    "sync": codec._SYNC,
    "solo_entry": codec._SOLO_ENTRY,
    "ask": listener_codec._ASK,
    "nack_entry": listener_codec._NACK_ENTRY,
    "report": listener_codec._REPORT,
    "opus": opus._HEAD,
}
BEGINS = dict.fromkeys(["header", "nack_entry", "flac", "opus", "tier_offer", "solo_entry"], 0)
BEGINS |= dict.fromkeys(["timeline", "solicit", "ask"], 16)
BEGINS |= dict.fromkeys(["announce", "song", "audio", "bye", "sync", "solo"], 44) | {"report": 32}
TEXTS = {"announce": [limits.NAME_MAX], "song": [limits.TAG_MAX] * 3, "report": [limits.NAME_MAX]}
TEXTS |= {"sync": [limits.NAME_MAX, limits.TAG_MAX]}


def rows(mark):
    """Return the cells of the table behind a mark."""
    _, found, rest = PAGE.partition(f"<!-- {mark} -->\n")
    assert found, f"the page has no {mark}"
    lines = rest.splitlines()
    table = lines[2 : next(i for i, line in enumerate(lines) if not line.startswith("|"))]
    assert table
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def fixed(name):
    """Return the rows of fixed size as (offset, size, type, field)."""
    return [
        (int(offset), int(size), kind, field)
        for offset, size, kind, field, *_ in rows(f"table: {name}")
        if kind not in ("text", "bytes")
    ]


def code(kind, size):
    return f"{size}x" if kind == "zero" else CODES[kind]


def layout(name):
    return struct.Struct("!" + "".join(code(kind, size) for _, size, kind, _ in fixed(name)))


def expanded(form):
    """Return a struct's format with every count written out."""
    return re.sub(r"(\d+)(\w)", lambda m: m[2] * int(m[1]), form.lstrip("!>"))


def golden(name):
    text = (Path(__file__).parent / "golden" / f"{name}.hex").read_text(encoding="ascii")
    return bytes.fromhex(text)


@pytest.mark.parametrize("name", sorted(BEGINS))
def test_offsets_and_sizes_add_up(name):
    position = BEGINS[name]
    for offset, size, kind, field in fixed(name):
        assert offset == position, field
        assert size == struct.calcsize("!" + code(kind, size)), field
        position += size
    for offset, *_ in [row for row in rows(f"table: {name}") if row[2] in ("text", "bytes")][:1]:
        assert int(offset) == position


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_the_tables_are_the_structs_of_the_code(name):
    assert expanded(layout(name).format) == expanded(STRUCTS[name].format)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_texts_are_as_long_as_they_may_be(name):
    sizes = [size for _, size, kind, *_ in rows(f"table: {name}") if kind == "text"]
    assert sizes == [f"1+{longest}" for longest in TEXTS[name]]


def test_every_table_is_compared():
    marked = set(re.findall(r"<!-- table: (\w+) -->", PAGE))
    assert marked == set(STRUCTS) | {"solicit", "flac", "solo"} == set(BEGINS)


@pytest.mark.parametrize("enum", [Kind, PlayState, SampleFormat, Codec, ByeReason, ListenerState, SyncPhase])
def test_values_are_those_of_the_code(enum):
    assert {name: int(value) for name, value, *_ in rows(f"values: {enum.__name__}")} == {m.name: m.value for m in enum}


def test_who_sends_what():
    for name, value, sender, _ in rows("values: Kind"):
        assert sender == ("host" if int(value) < 16 else "listener"), name


def test_limits_are_those_of_the_code():
    for name, value, _ in rows("limits"):
        assert int(value) == next(getattr(m, name) for m in (limits, codec, fields, messages) if hasattr(m, name)), name


@pytest.mark.parametrize("name", ["announce", "song", "audio", "bye", "sync", "solicit", "nack", "report", "leave"])
def test_a_decoder_written_from_the_page_reads_the_golden_datagrams(name):
    """Each field is found where the page says, under the name that it has in the code."""
    data, message = golden(name), codec.decode(golden(name))
    tables = {"solicit": ["solicit"], "nack": ["ask"], "leave": ["ask"], "report": ["ask", "report"]}
    seen = {}
    for table in ["header", *tables.get(name, ["timeline", name])]:
        values = iter(layout(table).unpack_from(data, BEGINS[table]))
        for _, _, kind, field in fixed(table):
            if kind not in ("zero", "crc"):
                seen[table, field] = next(values)
    owners = {"timeline": lambda: message.timeline, "audio": lambda: message.chunk}
    for (table, field), value in seen.items():
        owner = owners.get(table, lambda: message)()
        if table == "header":
            expected = {"magic": 0x5253, "version": 1, "kind": Kind[name.upper()], "session": message.session}[field]
        elif field in ("rate", "channels", "sample"):
            expected = getattr(message.format, field)
        elif field == "flags":
            expected = int(message.repair)
        elif field == "index":
            expected = message.index
        else:
            expected = getattr(owner, field)
        assert value == (fields.UNKNOWN if expected is None else expected), field


def test_the_bitmap_is_laid_out_as_the_page_says():
    data, position, entries = golden("nack"), 32, []
    while position < len(data):
        seq, run, tier, count = layout("nack_entry").unpack_from(data, position)
        raw = data[position + 8 : position + 8 + count]
        bits = [i for i in range(8 * count) if raw[i // 8] >> i % 8 & 1]
        entries.append((seq, run, tier, sum(1 << i for i in bits)))
        position += 8 + count
    assert entries == [(e.seq, e.run, e.tier, e.bitmap) for e in codec.decode(data).entries]


def test_stretches_are_laid_out_as_the_page_says():
    data = golden("solo")
    (count,) = layout("solo").unpack_from(data, BEGINS["solo"])
    entries = [layout("solo_entry").unpack_from(data, 45 + 20 * i) for i in range(count)]
    assert entries == [(e.listener_id, e.first_frame, e.frames) for e in codec.decode(data).entries]
    assert 45 + 20 * count == len(data)


def test_the_example_is_the_golden_datagram():
    lines = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)  ", PAGE, re.MULTILINE)
    data = b"".join(bytes.fromhex(raw) for _, raw in lines)
    assert data == golden("audio")
    position = 0
    for offset, raw in lines:
        assert int(offset, 16) == position
        position += len(bytes.fromhex(raw))


@pytest.mark.parametrize("sample", [SampleFormat.S16, SampleFormat.S24])
def test_flac_is_decoded_with_the_header_of_the_page(sample):
    audio = AudioFormat(44_100, 2, sample)
    rng = np.random.default_rng(2)
    music = np.cumsum(rng.integers(-50, 50, (22_050, 2)), axis=0).astype(sample.dtype) << (8 if sample == 2 else 0)
    used, coded = ChunkCodec().encode(music, audio, Codec.FLAC)
    assert used is Codec.FLAC
    constants = {field: text for _, _, _, field, text in rows("table: flac")}
    bits = 8 * sample.wire_bytes
    names = {"rate": audio.rate, "channels": audio.channels, "bits": bits, "frames": len(music)}
    values = [eval(text.split(",")[0].split(":")[0], {}, names) for field, text in constants.items() if field]
    header = layout("flac").pack(*values)
    assert len(header) == 42
    with soundfile.SoundFile(io.BytesIO(header + coded)) as file:
        assert (file.samplerate, file.channels, file.frames) == (44_100, 2, 22_050)
        assert np.array_equal(file.read(dtype=sample.dtype.name, always_2d=True), music)


def test_parity_is_as_the_page_says():
    assert f"({parity.POLYNOMIAL:#x})" in PAGE
    symbols = re.search(r"Three symbols of 4 bytes, (\w+), (\w+) and (\w+), have", PAGE)
    made = parity.parity_symbols(parity.block_of([bytes.fromhex(each) for each in symbols.groups()], 4), 0, 64)
    examples = re.findall(r"P_(\d+) = (\w{8})", PAGE)
    assert len(examples) == 3
    for number, expected in examples:
        assert made[int(number)].hex() == expected


def test_the_page_names_no_port_or_time_that_the_code_denies():
    network = NetworkConfig()
    assert f"{network.group} and {network.port}" in PAGE
    assert (network.control_port, network.clock_port) == (network.port + 1, network.port + 2)
    assert (
        f"carry DSCP {network.dscp_clock}, the\nothers {network.dscp_audio}; the TTL, with IPv6 the hop limit, "
        f"is {network.ttl}" in PAGE
    )
    for text in (
        f"per {request.TICK_NS // 10**6} ms",
        f"{request.SYMBOLS_ASKED_MAX} symbols",
        f"tenth of the time left to the chunk's end, at least {rounds.ROUND_NS_MIN // 10**6} ms",
        f"at most {rounds.ROUND_NS_MAX // 10**9} s",
        f"a hundredth of the time left, at least {rounds.GATHER_NS // 10**6} ms and at most",
        f"at most {rounds.GATHER_NS_MAX / 10**9:g} s (none with",
        f"less than {rounds.GATHER_URGENT_NS / 10**9:g} s left). What one listener has",
        f"within {rounds.CROWD_NS // 10**9} s, it multicasts",
        f"within {rounds.HOLD_OFF_NS // 10**6} ms ({rounds.HOLD_OFF_URGENT_NS // 10**6} ms",
        f"silent for {listeners.SILENCE_NS // 10**9} s",
        f"latest {RECORDS_MAX}:",
        f"every {coordinator.REPEAT_NS / 10**9:g} s while a start is prepared",
        f"plus {coordinator.SYNC_MARGIN_NS // 10**6} ms or the longest",
        f"`lead_ms` that is not far beyond the others' plus {coordinator.RENDER_MARGIN_NS // 10**6} ms,",
        f"not longer than {coordinator.START_WAIT_NS // 10**9} s (few of many:",
        f"few of many: {coordinator.MINORITY_WAIT_NS // 10**9} s) before",
        f"{coordinator.JUMP_WAIT_NS / 10**9:g} s before a resume or a jump",
        f"to come ({HostConfig().start_lead:g} s by default)",
        f"After {reach.REJOIN_NS / 10**9:g} s without",
        f"through the group for {reach.SILENT_NS / 10**9:g} s",
        f"every {reach.REJOIN_NS_MAX // 10**9} s",
        f"the copy did for {reach.BACK_NS // 10**9} s",
        f"({HostConfig().copies_max} by default, {copies.COPIES_PER_IP_MAX} at one IP address)",
        f"every {reach.REFRESH_NS // 10**9} s",
        f"{announcer.HURRY_NS / 10**9:g} s apart, when something changes",
    ):
        assert text in PAGE, text
