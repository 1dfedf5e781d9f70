"""Whole listeners on bad networks: what they emit is the source, bit for bit, with the default buffer."""

import pytest

from radiosync.sim.link import LinkSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Fault

BURSTS = LinkSettings(burst_every_ns=3_600_000_000, burst_ns=400_000_000)  # of 30 datagrams a second: 4 to 20 at a time


@pytest.mark.parametrize(
    ("count", "link", "seconds"),
    [(30, LinkSettings(loss=0.05), 6.0), (3, BURSTS, 30.0), (5, LinkSettings(loss=0.3), 10.0)],
    ids=["5% of 30", "bursts", "30% of 5"],
)
def test_loss_is_repaired_bit_for_bit(make_scenario, count, link, seconds):
    result = run_scenario(make_scenario(seconds, count=count, link=link, from_first_frame=True), 1)
    assert not result.violations
    streams = [stream for node in result.world.listeners for stream in node.streams]
    assert sum(stream.counters.symbols_lost for stream in streams) > 100
    sent = result.world.hosts[0].session.sender.counters
    if count > 3:  # several lack something of the same chunk, all the time
        lost = sum(stream.counters.symbols_lost for stream in streams)
        assert sent.repairs_parity > 10
        assert sent.repairs_multicast + sent.repairs_unicast < lost, "one answer heals several"


def test_an_outage_of_everybody_for_25_s_is_not_heard(make_scenario):
    fault = Fault(kind="outage", at_s=16.0, for_s=25.0)
    result = run_scenario(make_scenario(75.0, count=3, faults=(fault,), from_first_frame=True), 1)
    assert not result.violations
    sent = result.world.hosts[0].session.sender.counters
    lost = max(stream.counters.symbols_lost for node in result.world.listeners for stream in node.streams)
    assert lost > 200
    assert sent.repairs_multicast + sent.repairs_unicast < 1.3 * lost, "nearly all is sent to all"
