"""Many who come at once are served at once, and the host sends no more than it means to."""

from itertools import pairwise

from radiosync.host.outbox import SENT_PER_S_MAX
from radiosync.sim.run import build
from radiosync.sim.scenario import Listeners, Stream
from radiosync.units import NS_PER_S

HOST = "10.0.0.1"
COUNT = 100
COME_S, UNTIL_S = 12, 15


def test_a_hundred_who_come_within_a_second_play_within_five_and_share_what_was_sent_before(make_scenario):
    scenario = make_scenario(
        stream=Stream(sample="s16", songs_s=(30.0,)),
        listeners=(Listeners(name="room", count=COUNT, start_s=COME_S, start_s_spread=1.0, clock_ppm_spread=50.0),),
        config={"radio_sync.buffer_duration": 10.0},
    )
    world = build(scenario, 1)
    sent = []
    for tenth in range(UNTIL_S * 10):
        world.at(tenth * NS_PER_S // 10, lambda: sent.append(world.hosts[0].session.outbox.counters.datagrams_sent))
    world.run(UNTIL_S * NS_PER_S)
    for node in world.listeners:
        (sink,) = node.sinks.values()
        assert sink.first_at is not None, node.machine.name
        assert sink.first_at - node.started_at < 5 * NS_PER_S
        assert (sink.wrong_frames, sink.silent_frames) == (0, 0)
    (host,) = world.hosts
    assert len(host.session.listeners) == COUNT
    assert max(later - earlier for earlier, later in pairwise(sent[::10])) <= SENT_PER_S_MAX
    assert host.session.outbox.counters.answers_refused == 0
    counters = host.session.sender.counters
    # Each of them lacked most of what had been sent.
    assert counters.repairs_multicast + counters.repairs_unicast < 6 * counters.symbols_sent, "not a hundred times"
