from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.listener.discovery import NONCES_MAX, RENEW_NS, UNSERVED_NS, Discovery
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import SOLICIT_BYTES, decode
from radiosync.wire.messages import Announce

START = 10**12
HOST = ("10.0.0.1", 1)


@pytest.fixture
def discovery():
    return Discovery(Random(1), START)


@pytest.fixture
def announce(kit):
    return Announce(
        session=5,
        timeline=kit.timeline_at(),
        sent_at=0,
        format=AudioFormat(44_100, 2, SampleFormat.S16),
        control_port=1,
        clock_port=2,
        chunk_frames=100,
        play_seq=0,
        play_frame=0,
        next_seq=0,
        final_frame=None,
        buffer_ms=0,
        buffered_ms=0,
        song_id=0,
        nonce=0,
        cookie=9,
    )


def drive(discovery, until, session=0):
    """Ask whenever it is due; return when, and the nonces."""
    asked = []
    while discovery.due_at < until:
        now = discovery.due_at
        assert discovery.ask(now - 1, session) is None
        data = discovery.ask(now, session)
        assert len(data) == SOLICIT_BYTES
        solicit = decode(data)
        assert solicit.session == session
        asked.append((now, solicit.nonce))
    return asked


def test_it_asks_quickly_at_first_and_then_once_a_second(discovery):
    asked = drive(discovery, START + 20 * NS_PER_S)
    gaps = [(b - a) / NS_PER_MS for (a, _), (b, _) in pairwise(asked)]
    assert asked[0][0] == START
    for gap, nominal in zip(gaps, [100, 200, 400, *[1000] * 30], strict=False):
        assert 0.8 * nominal <= gap <= 1.2 * nominal
    nonces = [nonce for _, nonce in asked]
    assert len(set(nonces)) == len(nonces)
    assert 0 not in nonces


def test_two_listeners_do_not_fall_into_step():
    first, second = (drive(Discovery(Random(seed), START), START + 30 * NS_PER_S) for seed in (1, 2))
    assert not {at for at, _ in first[1:]} & {at for at, _ in second[1:]}
    assert not {nonce for _, nonce in first} & {nonce for _, nonce in second}


def test_only_an_answer_to_a_question_of_ours_counts(discovery, announce):
    (_, nonce), *_ = drive(discovery, START + 1)
    assert discovery.is_answer(replace(announce, nonce=nonce), HOST)
    assert not discovery.is_answer(replace(announce, nonce=nonce, cookie=0), HOST), "nobody was asked for nothing"
    assert not discovery.is_answer(replace(announce, nonce=nonce + 1), HOST)
    assert not discovery.is_answer(replace(announce, nonce=0), HOST), "what goes to everybody answers nobody"


def test_an_answer_that_somebody_passes_on_does_not_count(discovery, announce):
    (_, nonce), *_ = drive(discovery, START + 1)
    assert not discovery.is_answer(replace(announce, nonce=nonce), (HOST[0], 5000)), "not from the port it names"
    discovery.answered(START + 1)
    assert not discovery.is_answer(replace(announce, nonce=nonce), HOST), "the question has been answered"


def test_old_questions_are_forgotten(discovery, announce):
    asked = drive(discovery, START + 30 * NS_PER_S)
    answers = [discovery.is_answer(replace(announce, nonce=nonce), HOST) for _, nonce in asked]
    assert answers == [False] * (len(asked) - NONCES_MAX) + [True] * NONCES_MAX


def test_once_answered_it_only_renews(discovery):
    drive(discovery, START + 1)
    discovery.answered(START + NS_PER_MS)
    assert 0.8 * RENEW_NS <= discovery.due_at - START - NS_PER_MS <= 1.2 * RENEW_NS
    asked = drive(discovery, START + 200 * NS_PER_S)
    assert asked[1][0] - asked[0][0] >= 0.8 * NS_PER_S, "an unanswered renewal is repeated, not hurried"


def test_hurry_asks_at_once_but_not_more_than_a_series_a_second(discovery):
    drive(discovery, START + 5 * NS_PER_S)
    now = START + 5 * NS_PER_S
    discovery.answered(now)
    asked = 0
    for millisecond in range(3000):
        at = now + millisecond * NS_PER_MS
        discovery.hurry(at)
        asked += discovery.ask(at, 0) is not None
    assert 9 <= asked <= 12, "four in each second"


def renewals(discovery, requests, served=()):
    """Return at which milliseconds it asks anew, with an answer at once, where these are of requests and of repairs."""
    discovery.ask(START, 5)
    discovery.answered(START)
    asked = []
    for millisecond in sorted({*requests, *served}):
        now = START + millisecond * NS_PER_MS
        if millisecond in served:
            discovery.served(now)
        else:
            discovery.requested(now)
        if discovery.ask(now, 5):
            discovery.answered(now)
            asked.append(millisecond)
    return asked


def test_requests_that_nobody_serves_renew_the_cookie_ever_less_often(discovery):
    asked = renewals(discovery, range(0, 16_000, 100))
    assert [b - a for a, b in pairwise([0, *asked])] == [1100, 2100, 4100, 8100]


def test_a_repair_says_that_the_cookie_is_good(discovery):
    assert renewals(discovery, range(0, 20_000, 100), served=range(50, 20_000, 900)) == []
    assert renewals(discovery, range(20_000, 22_000, 100), served=[20_050]) == [21_100]


def test_a_request_now_and_then_that_is_not_served_is_no_reason(discovery):
    every_ns = UNSERVED_NS + 100 * NS_PER_MS
    assert renewals(discovery, range(0, 20_000, every_ns // NS_PER_MS)) == []
