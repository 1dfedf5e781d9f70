"""The clock channel, asked by somebody else's NTP client."""

import time
from pathlib import Path

import ntplib
from party import Host, Party, now_ns, write_song

NS_PER_S = 1_000_000_000
EXCHANGES = 20
# A float of seconds since 1900 has steps of 0.48 µs, and ntplib's answers are differences of a few such.
QUANTISATION_S = 2e-6
# The media clock reads as UTC when the host starts and steps no more; the wall clock that ntplib reads may be slewed
# by at most 500 ppm, for the two seconds that this test lasts.
SLEW_S = 1e-3


def playing_host(party: Party, folder: Path) -> Host:
    write_song(folder / "song.wav", 8_000, 1, "PCM_16", 60)
    host = party.host(folder / "song.wav")
    host.wait_stats(lambda record: True)
    return host


def test_ntplib_agrees_with_the_wall_clock(party: Party, tmp_path: Path) -> None:
    playing_host(party, tmp_path)
    client = ntplib.NTPClient()
    answers = [
        client.request("127.0.0.1", version=version, port=party.clock_port, timeout=30)
        for version in (3, 4)
        for _ in range(EXCHANGES // 2)
    ]
    best = min(answers, key=lambda answer: answer.delay)
    assert best.delay + QUANTISATION_S >= 0
    assert abs(best.offset) <= best.delay / 2 + QUANTISATION_S + SLEW_S
    assert {answer.version for answer in answers} == {3, 4}
    assert {answer.mode for answer in answers} == {4}
    assert {answer.leap for answer in answers} == {0}
    assert {answer.stratum for answer in answers} == {10}


def test_ntplib_agrees_with_the_media_clock_within_the_path(party: Party, tmp_path: Path) -> None:
    """The host tells what its clock is on ours, so that the path alone is between the two, however slow it is."""
    host = playing_host(party, tmp_path)
    host_minus_local_s = host.stats()[0]["clock_minus_local_ns"] / NS_PER_S
    client = ntplib.NTPClient()
    for _ in range(EXCHANGES):
        before_s = now_ns() / NS_PER_S + host_minus_local_s
        answer = client.request("127.0.0.1", version=4, port=party.clock_port, timeout=30)
        after_s = now_ns() / NS_PER_S + host_minus_local_s
        received_s = ntplib.ntp_to_system_time(answer.recv_timestamp)
        sent_s = ntplib.ntp_to_system_time(answer.tx_timestamp)
        assert before_s - QUANTISATION_S <= received_s <= sent_s + QUANTISATION_S
        assert sent_s <= after_s + QUANTISATION_S
        assert abs(ntplib.ntp_to_system_time(answer.orig_timestamp) - time.time()) < 30
    host.wait_stats(lambda record: record["clock_requests"] >= EXCHANGES)
