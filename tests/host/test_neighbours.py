"""Two hosts on one group hear of each other, once, and nobody else is disturbed by that."""

from dataclasses import replace
from random import Random

import pytest

from radiosync.host.events import OtherHost
from radiosync.host.neighbours import NONCES_MAX, PERIOD_NS, TOLD_MAX, Neighbours
from radiosync.host.session import HostSession
from radiosync.units import NS_PER_S
from radiosync.wire.codec import decode, encode
from radiosync.wire.messages import Announce, Solicit

CONTROL = 45451
OURS, THEIRS, ROOM = ("10.0.0.1", CONTROL), ("10.0.0.2", CONTROL), ("10.0.0.3", 50_000)


@pytest.fixture
def hosts(kit, driven):
    config = driven().config

    def make(number):
        return HostSession(
            config,
            kit.MONO,
            rng=Random(number),
            now=kit.NOW,
            control_port=CONTROL,
            clock_port=CONTROL + 1,
            name=f"host{number}",
        )

    return {OURS: make(1), THEIRS: make(2)}


def pass_on(hosts, now):
    """Let everything that is said now arrive, until nothing is; the group's control port brings back one's own."""
    heard = []
    for _ in range(6):
        for address, host in hosts.items():
            for datagram in list(host.datagrams_to_send(now)):
                heard.append((address, datagram))
                for other in hosts if datagram.to == ("239.255.77.77", CONTROL) else {datagram.to}:
                    if other in hosts:
                        hosts[other].receive_datagram(datagram.data, address, now)
    return heard


def told(host):
    events = []
    while (event := host.next_event()) is not None:
        events += [event] if isinstance(event, OtherHost) else []
    return events


def test_each_names_the_other_once(hosts, kit):
    for seconds in range(200):
        pass_on(hosts, kit.NOW + seconds * NS_PER_S)
    assert told(hosts[OURS]) == [OtherHost(name="host2", ip="10.0.0.2")]
    assert told(hosts[THEIRS]) == [OtherHost(name="host1", ip="10.0.0.1")]


def test_who_was_there_first_hears_of_the_second_at_once(hosts, kit):
    first = {OURS: hosts[OURS]}
    for seconds in range(20):
        pass_on(first, kit.NOW + seconds * NS_PER_S)
    assert told(hosts[OURS]) == []
    pass_on(hosts, kit.NOW + 20 * NS_PER_S)
    assert len(told(hosts[OURS])) == len(told(hosts[THEIRS])) == 1


def test_alone_it_asks_a_few_times_and_then_once_a_minute(hosts, kit):
    alone = {OURS: hosts[OURS]}
    asked = [
        seconds
        for seconds in range(300)
        for _, datagram in pass_on(alone, kit.NOW + seconds * NS_PER_S)
        if isinstance(decode(datagram.data), Solicit)
    ]
    assert asked[:3] == [0, 1, 2]
    assert len(asked) == 3 + 4
    assert told(hosts[OURS]) == []


def test_a_listener_is_not_asked_back_nor_a_host_waited_for(hosts, kit):
    host = hosts[OURS]
    host.receive_datagram(encode(Solicit(session=0, nonce=5)), ROOM, kit.NOW)
    said = [d for _, d in pass_on({OURS: host}, kit.NOW) if d.to == ROOM]
    assert all(isinstance(decode(d.data), Announce) or d.data[3] == 2 for d in said)
    assert host.listeners.expects(kit.NOW)
    other = hosts[THEIRS]
    other.receive_datagram(encode(Solicit(session=0, nonce=5)), OURS, kit.NOW)
    assert not other.listeners.expects(kit.NOW)


@pytest.fixture
def neighbours(kit):
    return Neighbours(Random(1), 7, CONTROL, kit.NOW)


@pytest.fixture
def announce(hosts, kit):
    (data, *_), _ = hosts[THEIRS].announcer.announcements(hosts[THEIRS]._state(kit.NOW), kit.NOW, 5, 6), None
    return replace(decode(data), nonce=0)


def nonce_of(questions):
    return decode(questions[0]).nonce


def test_only_an_answer_to_its_own_question_from_the_port_it_names_counts(neighbours, announce, kit):
    nonce = nonce_of(neighbours.ask(kit.NOW))
    assert neighbours.answered(replace(announce, nonce=nonce + 1), THEIRS) is None
    assert neighbours.answered(replace(announce, nonce=nonce), (THEIRS[0], 1)) is None
    assert neighbours.answered(replace(announce, nonce=nonce, session=7), THEIRS) is None
    assert neighbours.answered(replace(announce, nonce=nonce), THEIRS) is not None


def test_a_flood_of_questions_is_asked_back_once_a_second(neighbours, kit):
    assert neighbours.ask_back(THEIRS, kit.NOW)
    assert not neighbours.ask_back(THEIRS, kit.NOW + NS_PER_S - 1)
    assert neighbours.ask_back(THEIRS, kit.NOW + NS_PER_S)
    assert not neighbours.ask_back(ROOM, kit.NOW + 9 * NS_PER_S)


def test_old_questions_are_forgotten(neighbours, announce, kit):
    nonces = [nonce_of(neighbours.ask(kit.NOW + number * PERIOD_NS)) for number in range(NONCES_MAX + 1)]
    assert neighbours.answered(replace(announce, nonce=nonces[0]), THEIRS) is None
    assert neighbours.answered(replace(announce, nonce=nonces[1]), THEIRS) is not None


def test_so_many_are_named_and_no_more(neighbours, announce, kit):
    nonce = nonce_of(neighbours.ask(kit.NOW))
    named = [neighbours.answered(replace(announce, nonce=nonce, session=100 + n), THEIRS) for n in range(TOLD_MAX + 5)]
    assert sum(each is not None for each in named) == TOLD_MAX
