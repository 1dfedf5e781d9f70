"""Two hosts on one group and port: each listener hears its own, whole, whatever the other sends."""

from dataclasses import replace

import pytest

from radiosync.config import Config
from radiosync.host.events import OtherHost
from radiosync.sim.checkers.outcome import completeness
from radiosync.sim.clocks import ClockSettings
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import HOST_EPOCH_NS, NodeSettings, World
from radiosync.units import NS_PER_S

SONG_S = 12
LOSSY = LinkSettings(loss=0.03)


class Party:
    def __init__(self, make_scenario, **keys):
        self.scenario = make_scenario()
        self.world = World(1)
        self.config = Config.load(None, {"host.codec": "pcm", "radio_sync.buffer_duration": 6.0, **keys})
        clock = ClockSettings(offset_ns=HOST_EPOCH_NS)
        self.machines = [
            self.world.machine(name, NodeSettings(clock=clock, up=LOSSY), self.config) for name in ("den", "attic")
        ]
        self.hosts = []

    def host(self, number):
        audio = self.scenario.stream.format
        self.hosts.append(self.world.start_host(self.machines[number], audio, (SONG_S * audio.rate,)))

    def listen(self, name, host_ip=""):
        config = Config.load(
            None, {"host.codec": "pcm", "radio_sync.buffer_duration": 6.0, "listener.host": host_ip or None}
        )
        return self.world.start_listener(self.world.machine(name, NodeSettings(down=LOSSY), config))


@pytest.fixture
def party(make_scenario):
    return Party(make_scenario)


def whole(listener, host):
    sink = listener.sinks[host.session.session]
    return (
        not (sink.wrong_frames or sink.silent_frames or sink.skipped_frames)
        and sink.next_frame == host.source.end_frame
    )


def test_a_listener_stays_with_its_own(party):
    world = party.world
    world.at(0, lambda: party.host(0))
    first = []
    world.at(NS_PER_S, lambda: first.append(party.listen("room")))
    world.at(4 * NS_PER_S, lambda: party.host(1))
    asked = []
    world.at(6 * NS_PER_S, lambda: asked.append(party.listen("study", party.machines[1].ip)))
    world.run(13 * NS_PER_S)
    assert first[0].session.foreign > 100
    assert len(first[0].streams) == len(asked[0].streams) == 1
    world.run(22 * NS_PER_S)
    den, attic = party.hosts
    assert whole(first[0], den)
    assert whole(asked[0], attic)
    assert len(asked[0].sinks) == 1
    assert asked[0].streams[0].host_ip == party.machines[1].ip
    for host, other in ((den, "attic"), (attic, "den")):
        named = [event.name for _, event in host.events if isinstance(event, OtherHost)]
        assert named == [other]


def test_a_host_that_is_silent_is_waited_for_while_its_music_lasts(party):
    world = party.world
    world.at(0, lambda: (party.host(0), party.host(1)))
    rooms = []
    world.at(NS_PER_S // 2, lambda: rooms.append(party.listen("room", party.machines[0].ip)))
    world.run(5 * NS_PER_S)
    (room,) = rooms
    room._anyone = (party.config.network.group, party.config.network.control_port)  # from now on any may answer
    held_ns = room.session.stream.buffered_ns(room.machine.clock.local(world.now))
    party.hosts[0].kill()
    world.run(world.now + held_ns - NS_PER_S)
    assert len(room.streams) == 1
    world.run(world.now + 5 * NS_PER_S)
    assert [stream.host_ip for stream in room.streams] == [machine.ip for machine in party.machines]


def test_the_scenario_file_and_that_who_hears_the_wrong_one_is_seen(scenarios):
    scenario = Scenario.load(scenarios / "two-hosts.toml")
    result = run_scenario(scenario, 1)
    assert not result.violations
    heard = {
        node.machine.name: [result.world.host_of(s).machine.name for s in node.sinks] for node in result.world.listeners
    }
    assert heard == {"first": ["host"], "den": ["host"], "attic": ["neighbour"], "attic2": ["neighbour"]}
    assert all(node.session.foreign > 100 for node in result.world.listeners)
    swapped = {"": "", "host": "neighbour", "neighbour": "host"}
    listeners = tuple(replace(group, hears=swapped[group.hears]) for group in scenario.listeners)
    wrong = list(completeness(result.world, replace(scenario, listeners=listeners)))
    assert wrong == ["attic: never played", "attic2: never played", "den: never played"]
