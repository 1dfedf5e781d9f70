import importlib.util
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.audio.format import CHANNELS_MAX, RATE_MAX, RATE_MIN, AudioFormat, SampleFormat
from radiosync.errors import RemoteProtocolError
from radiosync.timeline import PlayState, Timeline
from radiosync.wire import codec, listener_codec
from radiosync.wire.codec import decode, encode
from radiosync.wire.fields import FRAME_MAX, MAGIC, is_intact, sealed
from radiosync.wire.messages import (
    SYMBOLS_MAX,
    Announce,
    Audio,
    Bye,
    ByeReason,
    ChunkHeader,
    Kind,
    Leave,
    ListenerState,
    Nack,
    NackEntry,
    Report,
    Solicit,
    Solo,
    SoloEntry,
    SongInfo,
    Sync,
    SyncPhase,
    TierOffer,
    extend_seq,
)

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"


def load_tool():
    spec = importlib.util.spec_from_file_location("make_golden", ROOT / "tools" / "make_golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()
NAMES = sorted(TOOL.MESSAGES)


def golden(name):
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text(encoding="ascii"))


def resealed(data, offset, raw):
    """Return the datagram with `raw` at `offset` and a CRC that fits."""
    changed = data[:offset] + raw + data[offset + len(raw) :]
    return sealed(changed[:4] + bytes(4) + changed[8:])


# --- golden datagrams: the format as it was fixed ---------------------------------------------------------------------


def test_there_is_a_golden_datagram_of_every_kind():
    assert {path.stem for path in GOLDEN.glob("*.hex")} == set(NAMES)
    assert {golden(name)[3] for name in NAMES} == set(Kind)


@pytest.mark.parametrize("name", NAMES)
def test_golden_bytes_mean_what_they_meant(name):
    assert decode(golden(name)) == TOOL.MESSAGES[name]
    assert encode(TOOL.MESSAGES[name]).hex() == golden(name).hex()


def test_a_datagram_put_together_by_hand_is_the_same():
    """Nothing of the codec takes part in this: it is what an implementation in another language would do."""
    timeline = struct.pack(">IIB3xQq", 3, 2, 1, 0x01020304, 1_795_000_000_123_456_789)
    body = struct.pack(">HBBIQ", 0x5253, 1, 4, 0, 0x1122334455667788) + timeline
    body += struct.pack(">B7xQ", 1, 0x01020304 + 22_050 * 7 + 500_000)
    assert body[:4] + struct.pack(">I", zlib.crc32(body)) + body[8:] == golden("bye")


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_and_every_extension_is_refused(name):
    whole = golden(name)
    for length in range(len(whole)):
        with pytest.raises(RemoteProtocolError):
            decode(whole[:length])
        if length >= 8:  # and where somebody computes a right CRC over it
            short = sealed(whole[:4] + bytes(4) + whole[8:length])
            # A NACK with fewer entries is a NACK.
            if name == "nack" and length in (32, 41, 49):
                assert len(decode(short).entries) == {32: 0, 41: 1, 49: 2}[length]
                continue
            with pytest.raises(RemoteProtocolError):
                decode(short)
    with pytest.raises(RemoteProtocolError):
        decode(sealed(whole[:4] + bytes(4) + whole[8:] + b"\0"))


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_seen(name):
    whole = golden(name)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteProtocolError):
            decode(bytes(damaged))


def test_the_tool_overwrites_only_when_forced(tmp_path, capsys):
    assert TOOL.main([str(tmp_path)]) == 0
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in GOLDEN.glob("*.hex")}
    (tmp_path / "bye.hex").write_text("00")
    assert TOOL.main([str(tmp_path)]) == 1
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "bye.hex").read_text() == "00"
    assert TOOL.main([str(tmp_path), "--force"]) == 0
    assert (tmp_path / "bye.hex").read_bytes() == written["bye.hex"]


# --- round trips ------------------------------------------------------------------------------------------------------

u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
i64 = st.integers(-(1 << 63), (1 << 63) - 1)
frames = st.integers(0, FRAME_MAX)
maybe_frames = st.none() | frames
tiers = st.integers(0, codec.TIERS_MAX - 1)


def text(bytes_max):
    printable = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=bytes_max)
    return printable.filter(lambda value: len(value.encode()) <= bytes_max)


timelines = st.builds(
    Timeline, version=u32, epoch=u32, state=st.sampled_from(PlayState), media_frame=frames, effective_at=i64
)
formats = st.builds(
    AudioFormat, st.integers(RATE_MIN, RATE_MAX), st.integers(1, CHANNELS_MAX), st.sampled_from(SampleFormat)
)
announces = st.builds(
    Announce,
    session=u64,
    timeline=timelines,
    sent_at=i64,
    format=formats,
    control_port=st.integers(1, 65_535),
    clock_port=st.integers(1, 65_535),
    chunk_frames=st.integers(1, (1 << 32) - 1),
    play_seq=u32,
    play_frame=frames,
    next_seq=u32,
    final_frame=maybe_frames,
    buffer_ms=u32,
    buffered_ms=u32,
    song_id=u32,
    nonce=u64,
    cookie=u64,
    report_ms=u16,
    clock_ms=u16,
    host_name=text(codec.NAME_MAX),
    tiers=st.lists(
        st.builds(TierOffer, tier=st.integers(1, codec.TIERS_MAX - 1), kbps=u16, active=st.booleans(), next_seq=u32),
        max_size=codec.TIERS_MAX - 1,
    ).map(tuple),
)
songs = st.builds(
    SongInfo,
    session=u64,
    timeline=timelines,
    song_id=u32,
    first_frame=frames,
    frames=maybe_frames,
    title=text(codec.TAG_MAX),
    artist=text(codec.TAG_MAX),
    album=text(codec.TAG_MAX),
)


@st.composite
def audios(draw):
    symbols = draw(st.integers(1, SYMBOLS_MAX))
    symbol_bytes = draw(st.integers(1, codec.SYMBOL_BYTES_MAX))
    last = draw(st.integers(1, symbol_bytes))
    index = draw(st.integers(0, symbols + codec.PARITY_MAX - 1))
    length = last if index == symbols - 1 else symbol_bytes
    chunk = ChunkHeader(
        seq=draw(u32),
        epoch=draw(u32),
        first_frame=draw(frames),
        frames=draw(st.integers(1, (1 << 32) - 1)),
        play_at=draw(i64),
        song_id=draw(u32),
        song_frame=draw(u64),
        buffer_position_ms=draw(u32),
        stamped_at=draw(i64),
        codec=draw(u8),
        tier=draw(tiers),
        coded_bytes=(symbols - 1) * symbol_bytes + last,
        symbol_bytes=symbol_bytes,
        symbols=symbols,
    )
    payload = draw(st.binary(min_size=1, max_size=8)) * length
    return Audio(
        session=draw(u64),
        timeline=draw(timelines),
        chunk=chunk,
        index=index,
        repair=draw(st.booleans()),
        payload=payload[:length],
    )


byes = st.builds(Bye, session=u64, timeline=timelines, reason=st.sampled_from(ByeReason), final_frame=maybe_frames)
syncs = st.builds(
    Sync,
    session=u64,
    timeline=timelines,
    phase=st.sampled_from(SyncPhase),
    target_frame=frames,
    sync_at=i64,
    required_ms=u32,
    slowest_latency_us=u32,
    buffer_offset_ms=u32,
    waiting=u16,
    slowest=text(codec.NAME_MAX),
    reason=text(codec.TAG_MAX),
)
solos = st.builds(
    Solo,
    session=u64,
    timeline=timelines,
    entries=st.lists(
        st.builds(SoloEntry, listener_id=u64, first_frame=frames, frames=st.integers(1, (1 << 32) - 1)),
        max_size=codec.SOLOS_MAX,
    ).map(tuple),
)
solicits = st.builds(Solicit, session=u64, nonce=u64)
entries = st.builds(
    NackEntry, seq=u32, run=st.integers(1, codec.NACK_RUN_MAX), bitmap=st.just(0), tier=tiers
) | st.builds(NackEntry, seq=u32, run=st.just(0), bitmap=st.integers(1, (1 << SYMBOLS_MAX) - 1), tier=tiers)
nacks = st.builds(Nack, session=u64, cookie=u64, listener_id=u64, entries=st.lists(entries, max_size=40).map(tuple))
reports = st.builds(
    Report,
    session=u64,
    cookie=u64,
    listener_id=u64,
    state=st.sampled_from(ListenerState),
    tier=tiers,
    rtt_ns=i64,
    down_ns=i64,
    up_ns=i64,
    echo_at=i64,
    echo_held_ns=i64,
    ready_frame=maybe_frames,
    lead_ms=u32,
    offset_bound_ns=i64,
    sync_error_ns=i64,
    rate_ppb=st.integers(-(1 << 31), (1 << 31) - 1),
    **dict.fromkeys(
        [
            *("buffer_ms", "symbols_received", "symbols_lost", "symbols_repaired", "chunks_late", "chunks_concealed"),
            *("underruns", "hard_resyncs", "jitter_us"),
        ],
        u32,
    ),
    offset_us=st.integers(-(1 << 31), (1 << 31) - 1),
    name=text(codec.NAME_MAX),
)
leaves = st.builds(Leave, session=u64, cookie=u64, listener_id=u64)
EVERY = {
    "announce": announces,
    "song": songs,
    "audio": audios(),
    "bye": byes,
    "sync": syncs,
    "solo": solos,
    "solicit": solicits,
    "nack": nacks,
    "report": reports,
    "leave": leaves,
}


@pytest.mark.parametrize("name", sorted(EVERY))
@settings(max_examples=60)
@given(data=st.data())
def test_decode_inverts_encode(name, data):
    message = data.draw(EVERY[name])
    raw = encode(message)
    assert is_intact(raw)
    assert decode(raw) == message
    if name != "nack":  # the scheduler bounds those, see the repair tests
        assert len(raw) <= codec.DATAGRAM_MAX


# --- hostile bytes ----------------------------------------------------------------------------------------------------


def accepts(data):
    """Say whether `data` is a message; fails the test on any exception but RemoteProtocolError."""
    try:
        decode(data)
    except RemoteProtocolError:
        return False
    return True


@settings(max_examples=300)
@given(st.binary(max_size=1500))
def test_random_bytes_are_refused(data):
    assert not accepts(data)


@settings(max_examples=500)
@given(kind=u8, session=st.binary(min_size=8, max_size=8), body=st.binary(max_size=300))
def test_random_bodies_behind_a_right_header_raise_nothing_else(kind, session, body):
    accepts(sealed(struct.pack("!HBBI", MAGIC, 1, kind, 0) + session + body))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150)
@given(where=st.integers(0, 2000), raw=st.binary(min_size=1, max_size=12))
def test_changed_fields_with_a_right_crc_raise_nothing_else(name, where, raw):
    whole = golden(name)
    offset = 8 + where % (len(whole) - 8)
    accepts(resealed(whole, offset, raw[: len(whole) - offset]))


@pytest.mark.parametrize("header", ["5252010400000000", "5253020400000000", "5253000400000000"])
def test_other_magics_and_versions_are_refused(header):
    with pytest.raises(RemoteProtocolError, match="magic"):
        decode(resealed(golden("bye"), 0, bytes.fromhex(header)))


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(Kind)))
def test_unknown_kinds_are_refused(kind):
    with pytest.raises(RemoteProtocolError, match=f"kind {kind}"):
        decode(resealed(golden("leave"), 3, bytes([kind])))


OUT_OF_RANGE = [
    ("bye", 24, b"\3", "state"),
    ("bye", 28, (FRAME_MAX + 1).to_bytes(8, "big"), "media frame"),
    ("bye", 44, b"\0", "reason"),
    ("bye", 44, b"\3", "reason"),
    ("bye", 52, (FRAME_MAX + 1).to_bytes(8, "big"), "final frame"),
    ("announce", 52, (RATE_MIN - 1).to_bytes(4, "big"), "rate"),
    ("announce", 52, (RATE_MAX + 1).to_bytes(4, "big"), "rate"),
    ("announce", 56, b"\0", "channels"),
    ("announce", 56, b"\x09", "channels"),
    ("announce", 57, b"\0", "sample"),
    ("announce", 57, b"\5", "sample"),
    ("announce", 58, b"\0\0", "control port"),
    ("announce", 60, b"\0\0", "clock port"),
    ("announce", 62, bytes(4), "chunk frames"),
    ("announce", 122, bytes([codec.NAME_MAX + 1]), "name length"),
    ("song", 64, bytes([codec.TAG_MAX + 1]), "title length"),
    ("audio", 60, bytes(4), "frames"),
    ("audio", 52, (FRAME_MAX + 1).to_bytes(8, "big"), "first frame"),
    ("audio", 98, bytes(4), "coded bytes 0"),
    ("audio", 98, (2_180).to_bytes(4, "big"), "coded bytes of two symbols"),
    ("audio", 98, (3_271).to_bytes(4, "big"), "coded bytes of four symbols"),
    ("audio", 98, (2_197).to_bytes(4, "big"), "coded bytes that the payload denies"),
    ("audio", 102, b"\0\0", "symbol bytes 0"),
    ("audio", 102, (1_091).to_bytes(2, "big"), "symbol bytes"),
    ("audio", 104, b"\0\0", "no symbols"),
    ("audio", 106, (3 + codec.PARITY_MAX).to_bytes(2, "big"), "index beyond all parity"),
    ("audio", 106, (1).to_bytes(2, "big"), "a short payload that is not the last symbol's"),
    ("report", 32, b"\7", "state"),
    ("report", 33, b"\x08", "tier"),
    ("audio", 97, b"\x08", "tier"),
    ("announce", 129, b"\x08", "number of offers"),
    ("announce", 130, b"\0", "offer of lossless"),
    ("announce", 130, b"\x08", "offer of no tier"),
    ("sync", 44, b"\0", "phase"),
    ("solo", 44, bytes([codec.SOLOS_MAX + 1]), "number of stretches"),
    ("solo", 53, (FRAME_MAX + 1).to_bytes(8, "big"), "frame of a stretch"),
    ("solo", 61, bytes(4), "a stretch without frames"),
    ("sync", 48, (FRAME_MAX + 1).to_bytes(8, "big"), "target"),
]


@pytest.mark.parametrize(("name", "offset", "raw", "what"), OUT_OF_RANGE)
def test_values_out_of_range_are_refused(name, offset, raw, what):
    with pytest.raises(RemoteProtocolError):
        decode(resealed(golden(name), offset, raw))


def test_a_chunk_of_too_many_symbols_is_refused():
    chunk = replace(TOOL.MESSAGES["audio"].chunk, symbols=SYMBOLS_MAX, coded_bytes=SYMBOLS_MAX * 8, symbol_bytes=8)
    most = replace(TOOL.MESSAGES["audio"], chunk=chunk, index=0, payload=bytes(8))
    assert decode(encode(most)) == most
    more = replace(chunk, symbols=SYMBOLS_MAX + 1, coded_bytes=SYMBOLS_MAX * 8 + 1)
    with pytest.raises(RemoteProtocolError, match="193"):
        decode(encode(replace(most, chunk=more)))


def test_stretches_beyond_the_limit_are_refused_and_the_limit_fits_a_datagram():
    def solo(count):
        raw = codec._SOLO_ENTRY.pack(5, 6, 7) * count
        return sealed(golden("solo")[:4] + bytes(4) + golden("solo")[8:44] + bytes([count]) + raw)

    whole = solo(codec.SOLOS_MAX)
    assert len(decode(whole).entries) == codec.SOLOS_MAX
    assert len(whole) <= codec.DATAGRAM_MAX
    with pytest.raises(RemoteProtocolError, match="stretches"):
        decode(solo(codec.SOLOS_MAX + 1))


def test_nack_entries_that_ask_for_nothing_or_too_much_are_refused():
    def nack(*raw):
        return sealed(golden("nack")[:4] + bytes(4) + golden("nack")[8:32] + b"".join(raw))

    entry = listener_codec._NACK_ENTRY.pack
    assert decode(nack(entry(7, codec.NACK_RUN_MAX, 0, 0))).entries == (NackEntry(seq=7, run=codec.NACK_RUN_MAX),)
    for bad in (
        entry(7, 0, 0, 0),
        entry(7, 1, codec.TIERS_MAX, 0),
        entry(7, 0, 0, 2) + b"\0\0",
        entry(7, 1, 0, 1) + b"\1",
        entry(7, codec.NACK_RUN_MAX + 1, 0, 0),
        entry(7, 0, 0, 25) + bytes(24) + b"\1",
        entry(7, 0, 0, 3) + b"\1\1",
    ):
        with pytest.raises(RemoteProtocolError):
            decode(nack(bad))
    one = entry(7, 1, 0, 0)
    assert len(decode(nack(one * codec.NACK_ENTRIES_MAX)).entries) == codec.NACK_ENTRIES_MAX
    with pytest.raises(RemoteProtocolError, match="too many"):
        decode(nack(one * (codec.NACK_ENTRIES_MAX + 1)))


@given(entry=entries)
def test_the_size_of_a_nack_entry_is_known_beforehand(entry):
    nack = Nack(session=1, cookie=2, listener_id=3, entries=(entry,))
    assert len(encode(nack)) == codec.NACK_OVERHEAD + codec.nack_entry_bytes(entry)


# --- texts and numbers that do not fit --------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["a", "é", "語", "🎵"])
def test_long_names_are_cut_at_a_whole_character(letter):
    for extra in range(4):
        name = "x" * extra + letter * 300
        report = decode(encode(replace(TOOL.MESSAGES["report"], name=name)))
        assert name.startswith(report.name)
        assert codec.NAME_MAX - len(letter.encode()) < len(report.name.encode()) <= codec.NAME_MAX
        song = decode(encode(replace(TOOL.MESSAGES["song"], title=name, artist=name, album=name)))
        assert codec.TAG_MAX - len(letter.encode()) < len(song.album.encode()) <= codec.TAG_MAX
        assert song.title == song.artist == song.album == name[: len(song.album)]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[2Jhi", "\ufffd[2Jhi"),
        (b"a\nb\r\x00", "a\ufffdb\ufffd\ufffd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u202egpj".encode(), "\ufffdgpj"),
    ],
)
def test_nothing_that_trips_a_terminal_gets_through(raw, shown):
    head = golden("report")[: 16 + 16 + listener_codec._REPORT.size]
    assert decode(sealed(head[:4] + bytes(4) + head[8:] + bytes([len(raw)]) + raw)).name == shown


def test_a_name_with_undecodable_bytes_can_be_sent():
    """Linux gives such names of files and machines as lone surrogates, which UTF-8 has no bytes for."""
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert decode(encode(replace(TOOL.MESSAGES["report"], name=name))).name == "caf?"


def test_numbers_that_grow_without_end_are_clipped():
    report = replace(TOOL.MESSAGES["report"], buffer_ms=1 << 40, symbols_lost=-1, rate_ppb=1 << 40)
    seen = decode(encode(report))
    assert (seen.buffer_ms, seen.symbols_lost, seen.rate_ppb) == ((1 << 32) - 1, 0, (1 << 31) - 1)
    assert decode(encode(replace(report, rate_ppb=-(1 << 40)))).rate_ppb == -(1 << 31)


@pytest.mark.parametrize("field", ["rtt_ns", "offset_bound_ns", "sync_error_ns"])
def test_durations_beyond_any_clock_are_clipped(field):
    """A timeline may say any instant, and the error against it is reported."""
    assert getattr(decode(encode(replace(TOOL.MESSAGES["report"], **{field: 1 << 70}))), field) == (1 << 63) - 1
    assert getattr(decode(encode(replace(TOOL.MESSAGES["report"], **{field: -(1 << 70)}))), field) == -(1 << 63)


def test_sequence_numbers_keep_their_low_bits():
    audio = TOOL.MESSAGES["audio"]
    assert decode(encode(replace(audio, chunk=replace(audio.chunk, seq=(5 << 32) + 3)))).chunk.seq == 3
    assert decode(encode(Nack(session=1, cookie=2, listener_id=3, entries=(NackEntry(seq=-1, run=1),)))).entries == (
        NackEntry(seq=(1 << 32) - 1, run=1),
    )


# --- amplification ----------------------------------------------------------------------------------------------------


def test_an_answer_is_at_most_three_times_the_question():
    longest = "語" * 100
    announce = replace(TOOL.MESSAGES["announce"], host_name=longest)
    song = replace(TOOL.MESSAGES["song"], title=longest, artist=longest, album=longest)
    question = encode(TOOL.MESSAGES["solicit"])
    assert len(question) == codec.SOLICIT_BYTES
    assert len(encode(announce)) + len(encode(song)) <= 3 * len(question)


def test_the_largest_symbol_fits_a_datagram():
    chunk = replace(
        TOOL.MESSAGES["audio"].chunk, symbols=1, coded_bytes=codec.SYMBOL_BYTES_MAX, symbol_bytes=codec.SYMBOL_BYTES_MAX
    )
    audio = replace(TOOL.MESSAGES["audio"], chunk=chunk, index=0, payload=bytes(codec.SYMBOL_BYTES_MAX))
    assert len(encode(audio)) == codec.DATAGRAM_MAX


# --- sequence numbers that wrap ---------------------------------------------------------------------------------------


@given(near=st.integers(-(1 << 40), 1 << 40), away=st.integers(-(1 << 31), (1 << 31) - 1))
def test_extend_seq_finds_what_was_cut_off(near, away):
    assert extend_seq((near + away) % (1 << 32), near) == near + away


@given(wire=u32, near=st.integers(-(1 << 40), 1 << 40))
def test_extend_seq_keeps_the_wire_bits_and_stays_near(wire, near):
    seq = extend_seq(wire, near)
    assert seq % (1 << 32) == wire
    assert abs(seq - near) <= 1 << 31


def test_extend_seq_across_the_wrap():
    last = (1 << 32) - 1
    assert extend_seq(0, last) == 1 << 32
    assert extend_seq(last, 1 << 32) == last
    assert extend_seq(last, 0) == -1
    assert extend_seq(5, 7 << 32) == (7 << 32) + 5
