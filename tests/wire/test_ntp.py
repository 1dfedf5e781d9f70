import contextlib
import zlib
from datetime import UTC, datetime, timedelta

import ntplib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiosync.errors import RemoteProtocolError
from radiosync.units import NS_PER_S, HostNs
from radiosync.wire import ntp

NONCE = 0x0123456789ABCDEF
RECEIVED_AT = HostNs(1_795_000_000_123_456_789)
SENT_AT = HostNs(1_795_000_000_123_479_012)


def unix_s(year, month=1, day=1):
    return (datetime(year, month, day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def test_request_bytes_give_nothing_away_but_the_nonce():
    assert ntp.request(NONCE) == bytes.fromhex("23000020" + "00" * 36 + "0123456789abcdef")
    assert ntp.nonce_of(ntp.request(NONCE)) == NONCE


def test_reply_bytes():
    reply = ntp.respond(ntp.request(NONCE), received_at=RECEIVED_AT, sent_at=SENT_AT)
    assert reply.hex() == (
        "240a00e9" "00000000" "00000000" "e101e204" "eea805401f9add37" "0123456789abcdef"
        "eea805401f9add37" "eea805401f9c520e"
    )  # fmt: skip


def test_ntplib_reads_our_reply():
    reply = ntp.respond(ntp.request(NONCE), received_at=RECEIVED_AT, sent_at=SENT_AT, stratum=1)
    stats = ntplib.NTPStats()
    stats.from_data(reply)
    assert (stats.leap, stats.version, stats.mode, stats.stratum, stats.precision) == (0, 4, 4, 1, -23)
    assert stats.ref_id == zlib.crc32(reply[:12] + bytes(4) + reply[16:])
    assert stats.recv_time == pytest.approx(RECEIVED_AT / NS_PER_S, abs=1e-6)
    assert stats.tx_time == pytest.approx(SENT_AT / NS_PER_S, abs=1e-6)
    assert stats.ref_time == pytest.approx(RECEIVED_AT / NS_PER_S, abs=1e-6)
    assert stats.root_delay == stats.root_dispersion == 0


def test_ntplibs_question_is_answered_and_its_offset_is_right():
    asked_at = 1_795_000_000.25
    for version in (2, 3, 4):
        question = ntplib.NTPPacket(version=version, mode=3, tx_timestamp=ntplib.system_to_ntp_time(asked_at)).to_data()
        received_at = HostNs(1_795_000_001_750_000_000)
        reply = ntp.respond(question, received_at=received_at, sent_at=HostNs(received_at + 1_000_000))
        stats = ntplib.NTPStats()
        stats.from_data(reply)
        stats.dest_timestamp = ntplib.system_to_ntp_time(asked_at + 0.003)
        assert stats.version == version
        assert reply[24:32] == question[40:48]
        assert stats.offset == pytest.approx(1.499, abs=2e-6)
        assert stats.delay == pytest.approx(0.002, abs=2e-6)


def test_reply_passes_the_sanity_checks_of_rfc_5905_clients():
    reply = ntp.decode(ntp.respond(ntp.request(NONCE), received_at=RECEIVED_AT, sent_at=SENT_AT))
    assert reply.mode == ntp.MODE_SERVER
    assert reply.leap != ntp.LEAP_UNSYNCHRONISED
    assert 1 <= reply.stratum < 16
    assert reply.origin_timestamp == NONCE
    assert 0 < reply.reference_timestamp <= reply.transmit_timestamp
    assert 0 < reply.receive_timestamp <= reply.transmit_timestamp
    assert reply.root_delay // 2 + reply.root_dispersion < 16 << 16
    assert reply.reference_id != bytes(4)


@given(bits=st.sets(st.integers(0, 8 * ntp.PACKET_BYTES - 1), min_size=1, max_size=4))
def test_a_damaged_reply_is_known(bits):
    """A CRC-32 knows every damage of up to four bits of so few."""
    reply = ntp.stamp_departure(ntp.respond(ntp.request(NONCE), received_at=RECEIVED_AT, sent_at=SENT_AT), SENT_AT)
    assert ntp.is_intact(reply)
    assert ntp.is_intact(reply + bytes(20)), "what is behind the header is not ours"
    damage = sum(1 << bit for bit in bits)
    assert not ntp.is_intact((int.from_bytes(reply, "big") ^ damage).to_bytes(len(reply), "big"))


def test_a_reply_of_a_server_that_gives_no_crc_is_taken():
    reply = ntp.respond(ntp.request(NONCE), received_at=RECEIVED_AT, sent_at=SENT_AT)
    assert ntp.is_intact(reply[:12] + ntp.LOCAL_REFERENCE_ID + reply[16:-1] + b"!")
    assert not ntp.is_intact(reply[:12] + bytes(4) + reply[16:])


def test_reference_time_is_when_the_clock_was_set():
    set_at = HostNs(RECEIVED_AT - 3_600 * NS_PER_S)
    reply = ntp.respond(ntp.request(NONCE), received_at=RECEIVED_AT, sent_at=SENT_AT, reference_at=set_at)
    assert ntp.ns_from_timestamp(ntp.decode(reply).reference_timestamp) == set_at


@given(at=st.integers(unix_s(1993) * NS_PER_S, unix_s(2127) * NS_PER_S))
def test_every_nanosecond_survives(at):
    timestamp = ntp.timestamp_from_ns(HostNs(at))
    assert 0 <= timestamp < 1 << 64
    assert ntp.ns_from_timestamp(timestamp) == at


@given(
    pivot_at=st.integers(-(10**19), 10**19),
    away_ns=st.integers(-(2**31 - 1) * NS_PER_S, (2**31 - 1) * NS_PER_S),
)
def test_a_timestamp_is_read_in_the_era_nearest_to_the_pivot(pivot_at, away_ns):
    at = HostNs(pivot_at + away_ns)
    assert ntp.ns_from_timestamp(ntp.timestamp_from_ns(at), pivot_at=HostNs(pivot_at)) == at


def test_the_era_ends_in_2036():
    last = unix_s(2036, 2, 7) + 6 * 3600 + 28 * 60 + 15
    assert ntp.timestamp_from_ns(HostNs(last * NS_PER_S)) >> 32 == 0xFFFFFFFF
    assert ntp.timestamp_from_ns(HostNs((last + 1) * NS_PER_S)) == 0
    assert ntp.ns_from_timestamp(0) == (last + 1) * NS_PER_S
    assert unix_s(2060) * NS_PER_S == ntp.PIVOT_AT


def test_the_resolution_rounds_to_the_nearest():
    assert ntp.timestamp_from_ns(HostNs(0)) == 2_208_988_800 << 32
    assert ntp.timestamp_from_ns(HostNs(1)) - ntp.timestamp_from_ns(HostNs(0)) == 4  # 4.29
    assert ntp.timestamp_from_ns(HostNs(NS_PER_S // 2)) & 0xFFFFFFFF == 1 << 31


@given(data=st.binary(max_size=1100))
def test_no_bytes_raise_anything_else(data):
    for action in (
        ntp.decode,
        lambda d: ntp.respond(d, received_at=RECEIVED_AT, sent_at=SENT_AT),
    ):
        with contextlib.suppress(RemoteProtocolError):
            action(data)


@given(
    head=st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(0, 7)),
    body=st.binary(min_size=47, max_size=47),
    tail=st.integers(0, 244),
)
def test_encode_inverts_decode_and_ignores_extensions(head, body, tail):
    leap, version, mode = head
    data = bytes((leap << 6 | version << 3 | mode,)) + body
    packet = ntp.decode(data + bytes(4 * tail))
    assert (packet.leap, packet.version, packet.mode) == head
    assert ntp.encode(packet) == data


@pytest.mark.parametrize("length", [0, 1, 44, 47, 49, 50, 51, 1028, 65507])
def test_impossible_lengths_are_refused(length):
    with pytest.raises(RemoteProtocolError, match=f"{length} bytes"):
        ntp.decode((ntp.request(NONCE) + bytes(65536))[:length])


@pytest.mark.parametrize("version", [0, 5, 6, 7])
def test_unknown_versions_are_refused(version):
    with pytest.raises(RemoteProtocolError, match=f"version {version}"):
        ntp.decode(bytes((version << 3 | 3,)) + bytes(47))


@pytest.mark.parametrize("mode", [0, 1, 2, 4, 5, 6, 7])
def test_only_a_clients_question_is_answered(mode):
    with pytest.raises(RemoteProtocolError, match=f"mode {mode}"):
        ntp.respond(bytes((4 << 3 | mode,)) + bytes(47), received_at=RECEIVED_AT, sent_at=SENT_AT)


@given(extra=st.integers(0, 244))
def test_a_reply_is_never_longer_than_the_question(extra):
    question = ntp.request(NONCE) + bytes(4 * extra)
    assert len(ntp.respond(question, received_at=RECEIVED_AT, sent_at=SENT_AT)) == 48
