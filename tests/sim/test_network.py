import itertools
from random import Random

from radiosync.sim.link import Direction, LinkSettings
from radiosync.sim.network import Network
from radiosync.sim.scheduler import Scheduler
from radiosync.sim.trace import Trace

NS = 1_000_000_000
GROUP = ("239.1.2.3", 5000)


def pass_many(count, *, every_ns=1_000_000, multicast=False, **settings):
    direction = Direction(LinkSettings(**settings), Random(1))
    return direction, [direction.transit(1000, t * every_ns, multicast=multicast) for t in range(count)]


def test_without_reordering_nothing_overtakes():
    _, arrivals = pass_many(2000, every_ns=1000, jitter_ns=1_000_000, queue_max=2000)
    times = [t for each in arrivals for t in each]
    assert len(times) == 2000
    assert times == sorted(times)


def test_shares_of_loss_duplicates_and_reordering():
    direction, arrivals = pass_many(10_000, loss=0.05, duplicate=0.02, reorder=0.1)
    assert 400 < direction.counters.lost < 600
    assert 140 < direction.counters.duplicated < 250
    assert 850 < direction.counters.reordered < 1150
    assert sum(map(len, arrivals)) == 10_000 - direction.counters.lost + direction.counters.duplicated
    times = [each[0] for each in arrivals if each]
    assert times != sorted(times)


def test_multicast_loss_spares_unicast():
    assert pass_many(1000, multicast_loss=0.5)[0].counters.lost == 0
    assert 430 < pass_many(1000, multicast_loss=0.5, multicast=True)[0].counters.lost < 570


def test_bursts_are_as_long_and_as_frequent_as_told():
    # 100 s, a datagram every ms: bursts of 20 ms, 180 ms of peace between them.
    direction, arrivals = pass_many(100_000, burst_every_ns=180_000_000, burst_ns=20_000_000)
    bursts = sum(bool(each) and not before for before, each in itertools.pairwise(arrivals))
    assert 450 < bursts < 550
    assert 0.085 < direction.counters.lost / 100_000 < 0.115


def test_an_outage_loses_everything_and_nothing_else():
    _, arrivals = pass_many(100, outages_ns=((10_000_000, 20_000_000), (50_000_000, 51_000_000)))
    assert [i for i, each in enumerate(arrivals) if not each] == [*range(10, 20), 50]


def test_a_queue_is_bounded_and_a_bottleneck_fills_it():
    direction, arrivals = pass_many(300, every_ns=1000, bits_per_s=8_000_000, queue_max=50, jitter_ns=0, delay_ns=0)
    assert direction.counters.queue_peak == 50
    assert direction.counters.overflowed == 250
    times = [t for each in arrivals for t in each]
    assert times[1] - times[0] == 1_000_000, "1000 bytes at 8 Mbit/s"


def make_network(**down):
    scheduler = Scheduler()
    network = Network(scheduler, Trace())
    for number in range(1, 4):
        ip = f"10.0.0.{number}"
        up = Direction(LinkSettings(), Random(f"{number}up"))
        network.attach(ip, up, Direction(LinkSettings(**down), Random(f"{number}down")))
    return scheduler, network


def test_multicast_is_one_send_and_an_independent_draw_for_each_receiver():
    scheduler, network = make_network(loss=0.3)
    sender = network.open("10.0.0.1", 0, lambda: None)
    members = [network.open(ip, GROUP[1], lambda: None, GROUP[0]) for ip in ("10.0.0.2", "10.0.0.3")]
    for member in members:
        member.datagrams_max = 1000
    for number in range(500):
        sender.send(number.to_bytes(2, "big"), GROUP)
    scheduler.run(NS)
    assert network.link("10.0.0.1").up.counters.sent == 500
    got = [{data for data, _, _ in member.receive()} for member in members]
    assert all(300 < len(each) < 400 for each in got)
    assert 180 < len(got[0] & got[1]) < 310, "as many as independent losses leave to both"


def test_a_sender_does_not_hear_its_own_multicast():
    scheduler, network = make_network()
    mine = network.open("10.0.0.1", GROUP[1], lambda: None, GROUP[0])
    network.open("10.0.0.1", 0, lambda: None).send(b"x", GROUP)
    scheduler.run(NS)
    assert not mine.inbox


def test_what_comes_from_far_does_not_hold_up_what_comes_from_near():
    """A receiver's link is entered in the order of arrival there, not of sending."""
    scheduler = Scheduler()
    network = Network(scheduler, Trace())
    for number, delay_ns in ((1, 250_000_000), (2, 25_000_000), (3, 1_000_000)):
        links = [Direction(LinkSettings(delay_ns=delay_ns, jitter_ns=0), Random(1)) for _ in range(2)]
        network.attach(f"10.0.0.{number}", *links)
    to = network.open("10.0.0.3", 7, lambda: None)
    for sender in ("10.0.0.1", "10.0.0.2"):
        network.open(sender, 0, lambda: None).send(sender.encode(), to.address)
    scheduler.run(NS)
    assert [(data, at) for data, _, at in to.inbox] == [(b"10.0.0.2", 26_000_000), (b"10.0.0.1", 251_000_000)]


def test_receive_buffers_are_bounded():
    scheduler, network = make_network()
    to = network.open("10.0.0.2", 7, lambda: None)
    for _ in range(200):
        network.open("10.0.0.1", 0, lambda: None).send(b"x", ("10.0.0.2", 7))
    scheduler.run(NS)
    assert len(to.inbox) == to.datagrams_max
    assert to.dropped == 200 - to.datagrams_max


def test_what_arrives_at_a_closed_port_is_lost():
    scheduler, network = make_network()
    sender, to = network.open("10.0.0.1", 0, lambda: None), network.open("10.0.0.2", 7, lambda: None)
    member = network.open("10.0.0.2", GROUP[1], lambda: None, GROUP[0])
    sender.send(b"x", ("10.0.0.2", 7))
    sender.send(b"x", GROUP)
    sender.send(b"x", ("10.9.9.9", 7))
    to.close()
    member.close()
    scheduler.run(NS)
    assert network.unreachable == 3
    assert network.delivered == 0


def test_a_queue_that_pauses_gives_out_all_at_once_and_in_order():
    _, arrivals = pass_many(20_000, hold_every_ns=500_000_000, hold_ns=50_000_000, jitter_ns=0, delay_ns=0)
    times = [t for each in arrivals for t in each]
    assert times == sorted(times)
    held = [t - n * 1_000_000 for n, t in enumerate(times)]
    assert 0.05 < sum(h > 0 for h in held) / len(held) < 0.15
    assert max(held) > 50_000_000
    assert len(set(times)) < len(times) - 500


def test_what_is_mangled_is_shorter_or_turned():
    direction = Direction(LinkSettings(truncate=0.2, flip=0.2), Random(1))
    data = bytes(range(200))
    left = [direction.mangle(data) for _ in range(2000)]
    assert 300 < sum(len(each) < 200 for each in left) < 500
    assert 250 < sum(len(each) == 200 and each != data for each in left) < 450
    assert Direction(LinkSettings(), Random(1)).mangle(data) is data


def test_what_is_replayed_comes_again_much_later():
    direction, arrivals = pass_many(5000, replay=0.1, replay_ns=3 * NS)
    again = [each[1] - each[0] for each in arrivals if len(each) == 2]
    assert 400 < len(again) == direction.counters.replayed < 600
    assert max(again) > 2 * NS


def test_who_has_another_address_is_reached_there_and_nowhere_else():
    scheduler, network = make_network()
    here, there = (network.open(f"10.0.0.{n}", 1000, lambda: None) for n in (1, 2))
    network.readdress("10.0.0.2", "10.1.0.1")
    here.send(b"old", ("10.0.0.2", 1000))
    here.send(b"new", ("10.1.0.1", 1000))
    scheduler.run(NS)
    assert [data for data, *_ in there.receive()] == [b"new"]
    there.send(b"from", here.address)
    scheduler.run(2 * NS)
    assert [source for _, source, _ in here.receive()] == [("10.1.0.1", 1000)]
    assert network.open("10.0.0.2", 1001, lambda: None).address == ("10.1.0.1", 1001)


def test_what_the_sender_s_link_loses_is_lost_to_all():
    scheduler, network = make_network()
    network.link("10.0.0.1").up.settings = LinkSettings(loss=0.3)
    sender = network.open("10.0.0.1", 0, lambda: None)
    members = [network.open(ip, GROUP[1], lambda: None, GROUP[0]) for ip in ("10.0.0.2", "10.0.0.3")]
    for number in range(80):
        sender.send(bytes([number]), GROUP)
    scheduler.run(NS)
    got = [[data for data, *_ in member.receive()] for member in members]
    assert 40 < len(got[0]) < 70
    assert got[0] == got[1]


def test_an_outage_of_multicast_spares_unicast():
    cut = {"multicast_outages_ns": ((10_000_000, 20_000_000),)}
    assert pass_many(100, **cut)[0].counters.lost == 0
    _, arrivals = pass_many(100, multicast=True, **cut)
    assert [i for i, each in enumerate(arrivals) if not each] == [*range(10, 20)]


def test_a_throttle_and_rough_times_last_as_long_as_told():
    """Half of what comes within 100 ms fits through."""
    direction, arrivals = pass_many(
        300, throttles_ns=((100_000_000, 200_000_000, 4_000_000),), queue_max=10, jitter_ns=0, delay_ns=0
    )
    lost = [i for i, each in enumerate(arrivals) if not each]
    assert min(lost) > 100
    assert max(lost) < 200 + 10 * 2, "until what waits has left"
    assert 35 < len(lost) == direction.counters.overflowed < 55
    _, arrivals = pass_many(
        3000, rough_ns=((NS, 2 * NS),), rough_jitter_ns=50_000_000, jitter_ns=0, delay_ns=1_000_000, queue_max=3000
    )
    late = [each[0] - i * 1_000_000 - 1_000_000 for i, each in enumerate(arrivals)]
    assert max(late[:1000]) == 0
    assert sum(late[1000:2000]) / 1000 > 50_000_000, "in order, so that one late one holds up others"
    assert max(late[2700:]) == 0


def test_who_forges_a_source_is_heard_by_its_own_link_and_told_by_its_own_address():
    scheduler, network = make_network()
    host, rogue, victim = (network.open(f"10.0.0.{n}", 7, lambda: None) for n in (1, 2, 3))
    told = []
    network.taps.append(lambda _, source, __: told.append(source))
    network.send(b"x", host.address, victim.address, forged_by=rogue.address)
    scheduler.run(NS)
    assert [source for _, source, _ in victim.receive()] == [host.address]
    assert told == [rogue.address]
    assert [network.link(f"10.0.0.{n}").up.counters.sent for n in (1, 2)] == [0, 1]
