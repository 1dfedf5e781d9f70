"""A party drawn from a seed: physics and faults at random, for finding what nobody thought of.

Every run has two halves.  In the first anything may fail, and what must hold always is checked: the right frames, once
and in order, bounded queues, honest clocks, no exception.  In the second nothing fails any more, and everybody has to
be well within seconds: playing, in time, with nothing missing to the end.

What kinds of trouble there are is drawn first, and only then how much of each: a run with everything at once rarely
shows anything (A. Groce et al., "Swarm testing", ISSTA 2012).

Unasked a party is small and short, so that many can be had: up to six listeners and half a minute.  One that is asked
to last longer has as much trouble in each of its parts, but pauses, jumps and crashes of its host: of them a few are
enough, and with more there would be little music.
"""

from dataclasses import replace
from itertools import pairwise
from random import Random

from radiosync.sim.card import DacSettings
from radiosync.sim.clocks import ClockSettings
from radiosync.sim.link import LinkSettings
from radiosync.sim.scenario import VILLAINS, Fault, Host, Limits, Listeners, Order, Scenario, Stream, Villain
from radiosync.units import NS_PER_MS, NS_PER_S

CALM_S = 5.0  # at the beginning, so that everybody has come
CONVERGE_S = 10.0  # from the last fault on, until all has to be well
WELL_S = 3.0  # of music after that
JUMPS_MAX = PAUSES_MAX = 4  # with more the music of a long party would soon be over, or last for hours
PAUSE_S_MAX = 8.0
VILLAIN_S_MAX = 60.0  # what one does in a minute it can do for ever; who goes leaves something as well
FAULTS_S = 8.0, 20.0  # of a party that nobody asked to be longer
OVERFLOWS_MAX = 5000  # after a stall a receive buffer's worth comes at once
ERROR_NS = 500_000  # of loops that wake up late and stamps that are taken late ...
ERROR_JITTERS = 3  # ... and of the network's jitter

TROUBLES = (
    *("loss", "bursts", "disorder", "mangling", "holds", "asymmetry", "congestion"),  # of the network
    *("clocks", "cards", "stalls", "comings", "crashes"),
)
WRAP_CHUNKS = 500  # at the most, until numbers wrap
NEIGHBOURS = 0.1  # of all parties have one
QUALITIES = 0.3  # of those with a narrow link and no cards: what these emit must be the source, to be read back
MEMBERSHIP_S = 260.0  # RFC 3376 section 8.4


def draw(seed: int, *, listeners: int | None = None, minutes: float | None = None) -> Scenario:
    """Return the scenario of `seed`: for up to so many listeners, with so much music.

    Raises ValueError where that is not longer than what a run needs to end well.
    """
    rng = Random(f"swarm/{seed}" if listeners is minutes is None else f"swarm/{seed}/{listeners}/{minutes}")
    troubles = {trouble for trouble in TROUBLES if rng.random() < 0.4}
    dacs = rng.random() < 0.35
    faults_s = rng.uniform(*FAULTS_S) if minutes is None else minutes * 60 - CONVERGE_S - WELL_S
    if faults_s < FAULTS_S[0]:
        raise ValueError(f"a drawn party lasts {(FAULTS_S[0] + CONVERGE_S + WELL_S) / 60:.2f} minutes at the least")
    seconds = faults_s + CONVERGE_S + WELL_S
    parts = max(1, round(faults_s / FAULTS_S[1]))
    groups = tuple(_listeners(rng, n, faults_s, troubles, dacs=dacs) for n in range(rng.randint(1, 3)))
    if listeners is not None:
        # Few are the rule, and cheap; every doubling is as likely as the one before.
        groups = _shared(rng, groups, min(int((listeners + 1) ** rng.random()), listeners))
    buffer_s = rng.choice((0.5, 1.0, 3.0, 10.0, 45.0))
    names = [group.name for group in groups]
    faults = tuple(_fault(rng, names, faults_s, troubles, dacs=dacs) for _ in range(rng.randint(0, 4 * parts)))
    faults += _crash(rng, faults_s, troubles)
    orders, villains = _orders(rng, faults_s, seconds, parts), _villains(rng, faults_s)
    jumps = any(order.kind in {"next", "prev", "seek"} for order in orders)
    party = Scenario(
        title=f"swarm {seed}",
        stream=Stream(
            channels=2 if dacs else 1,
            sample="f32" if dacs else "s32",
            songs_s=(seconds / 3, 2 * seconds / 3) if not jumps else (seconds / 2,) * 3,
            live=not jumps and buffer_s < 5.0 and rng.random() < 0.2,  # it begins that much later
        ),
        host=Host(
            clock=ClockSettings(skew_ppm=rng.choice((0.0, -40.0, 60.0))),
            first_seq=2**32 - rng.randint(0, WRAP_CHUNKS) if rng.random() < 0.2 else 0,
        ),
        listeners=groups,
        faults=tuple(fault for fault in faults if fault is not None),
        orders=orders,
        villains=villains,
        calm_from_s=faults_s,
        membership_s=rng.choice((None, None, MEMBERSHIP_S)),
        config={
            "host.codec": "pcm",
            "radio_sync.adaptive_quality": False,
            "radio_sync.buffer_duration": buffer_s,
            # Twenty milliseconds of 45 seconds would be thousands of chunks, and a run of minutes.
            "radio_sync.chunk_duration": rng.choice((0.1, 0.5) if buffer_s > 5.0 else (0.02, 0.05, 0.1)),
        },
        limits=Limits(
            complete=not jumps,
            silent_frames_max=None,
            past_end_s_max=6.0,
            overflows_max=OVERFLOWS_MAX * parts,
            converge_s_max=CONVERGE_S,
            calm_error_ns_max=_error_ns(groups, troubles, dacs=dacs),
        ),
        extra_s=8.0,
    )
    if not dacs and "congestion" in troubles:
        party = _with_qualities(Random(f"swarm/qualities/{seed}"), party)
    return _with_neighbour(Random(f"swarm/neighbour/{seed}"), party, seconds)


def _with_qualities(rng: Random, party: Scenario) -> Scenario:
    """Let everybody, now and then, take a lower quality where the network can't keep up.

    What they play then is not compared with the source.
    """
    if rng.random() > QUALITIES:
        return party
    groups = tuple(replace(group, lossy=True) for group in party.listeners)
    return replace(party, config={**party.config, "radio_sync.adaptive_quality": True}, listeners=groups)


def _with_neighbour(rng: Random, party: Scenario, seconds: float) -> Scenario:
    """Draw, now and then, another host on the same group and ports, whom some of the groups are told to hear."""
    if rng.random() > NEIGHBOURS:
        return party
    start_s = rng.uniform(0.0, CALM_S)
    songs_s = tuple((seconds - start_s) * share for share in rng.choice(((1.0,), (0.4, 0.6))))
    clock = ClockSettings(skew_ppm=rng.choice((0.0, 50.0)), offset_ns=round(rng.uniform(-10, 10) * NS_PER_S))
    groups = tuple(replace(group, hears=rng.choice(("host", "neighbour"))) for group in party.listeners)
    return replace(party, neighbour=Host(start_s=start_s, songs_s=songs_s, clock=clock), listeners=groups)


def _error_ns(groups: tuple[Listeners, ...], troubles: set[str], *, dacs: bool) -> int | None:
    """Return how far from its play-at a frame may be once all is well: what no filter can know, and a little."""
    if "cards" in troubles and dacs:
        return None  # what lies about its times is as far off as it lies
    links = [(group.up, group.down) for group in groups]
    asymmetry_ns = max(abs(up.delay_ns - down.delay_ns) for up, down in links) // 2
    jitter_ns = max(up.jitter_ns + down.jitter_ns for up, down in links)
    return ERROR_NS + asymmetry_ns + ERROR_JITTERS * jitter_ns


def _listeners(rng: Random, number: int, seconds: float, troubles: set[str], *, dacs: bool) -> Listeners:
    up, down = _link(rng, troubles), _link(rng, troubles)
    if "asymmetry" not in troubles:
        down = replace(down, delay_ns=up.delay_ns, jitter_ns=up.jitter_ns)
    card = None
    if dacs:
        card = DacSettings(
            latency_ns=round(rng.uniform(5, 150) * NS_PER_MS),
            stamps=rng.choice(("true", "zero", "copied", "late", "wild")) if "cards" in troubles else "true",
            callback_late_ns=rng.choice((50_000, 500_000)) if "cards" in troubles else 50_000,
        )
    return Listeners(
        name=f"group{number}",
        count=rng.randint(1, 2),
        start_s=rng.choice((0.0, 0.0, rng.uniform(0.0, seconds))) if "comings" in troubles else 0.0,
        clock=ClockSettings(wander_ppm=rng.choice((0.0, 0.01))),
        clock_ppm_spread=100.0,
        kernel_stamps=rng.random() < 0.7,
        block_ms=rng.choice((20.0, 100.0, 200.0)),
        up=up,
        down=down,
        dac=card,
        dac_ppm_spread=200.0,
    )


def _shared(rng: Random, groups: tuple[Listeners, ...], count: int) -> tuple[Listeners, ...]:
    """Return `groups` with so many listeners in all, at least one in each that is left."""
    groups = groups[:count]
    cuts = sorted(rng.sample(range(1, count), len(groups) - 1))
    counts = [b - a for a, b in pairwise((0, *cuts, count))]
    return tuple(replace(group, count=each) for group, each in zip(groups, counts, strict=True))


def _link(rng: Random, troubles: set[str]) -> LinkSettings:
    link = LinkSettings(
        delay_ns=rng.choice((50_000, 500_000, 3_000_000)), jitter_ns=rng.choice((0, 20_000, 200_000, 2_000_000))
    )
    if "loss" in troubles:
        link = replace(link, loss=rng.choice((0.01, 0.1)), multicast_loss=rng.choice((0.0, 0.1, 0.3)))
    if "bursts" in troubles:
        link = replace(link, burst_every_ns=2 * NS_PER_S, burst_ns=round(rng.choice((20, 300)) * NS_PER_MS))
    if "disorder" in troubles:
        link = replace(
            link,
            duplicate=rng.choice((0.02, 0.2)),
            reorder=rng.choice((0.02, 0.2)),
            reorder_ns=round(rng.uniform(1, 50) * NS_PER_MS),
            replay=rng.choice((0.0, 0.02)),
        )
    if "mangling" in troubles:
        link = replace(link, truncate=rng.choice((0.0, 0.02)), flip=rng.choice((0.01, 0.05)))
    if "holds" in troubles:
        link = replace(
            link, hold_every_ns=round(rng.choice((100, 1000)) * NS_PER_MS), hold_ns=rng.choice((20, 200)) * NS_PER_MS
        )
    return link


def _fault(rng: Random, names: list[str], seconds: float, troubles: set[str], *, dacs: bool) -> Fault:
    kinds = ["outage", "outage_up", "outage_down"]
    if "stalls" in troubles:
        kinds += ["stall", "host_stall", "suspend"]
    if "comings" in troubles:
        kinds += ["listener_restart", "leave", "address_change", "no_multicast", "membership_lost"]
    if "clocks" in troubles:
        kinds += ["clock_step", "slew", "host_clock_step", "host_slew", "suspend", "host_suspend"]
    if "congestion" in troubles:
        kinds += ["throttle", "jitter"]
    if "cards" in troubles and dacs:
        kinds += ["unplug", "card_delay"]
    for_s = rng.choice((rng.uniform(0.001, 0.3), rng.uniform(0.3, 4.0), rng.uniform(4.0, 12.0)))
    for_s = min(for_s, seconds - CALM_S)
    at_s = rng.uniform(CALM_S, max(CALM_S, seconds - for_s))
    return Fault(
        kind=rng.choice(kinds),
        at_s=at_s,
        for_s=for_s,
        listeners=tuple(rng.sample(names, rng.randint(1, len(names)))),
        kbps=rng.choice((50.0, 500.0)),
        ms=rng.choice((1.0, 20.0, 3000.0)),
        ppm=rng.choice((50.0, -500.0, 500.0)),
    )


def _crash(rng: Random, seconds: float, troubles: set[str]) -> tuple[Fault, ...]:
    """Draw a host that is killed, once at the most: it goes on where it was, or begins anew."""
    if "crashes" not in troubles or rng.random() < 0.3:
        return ()
    kind = rng.choice(("host_return", "host_restart"))
    # Who begins anew early has not played much that is played again.
    latest_s = seconds - CALM_S if kind == "host_return" else min(CALM_S + 15.0, seconds - CALM_S)
    return (Fault(kind=kind, at_s=rng.uniform(2.0, latest_s), for_s=rng.uniform(0.1, CALM_S)),)


def _orders(rng: Random, faults_s: float, seconds: float, parts: int) -> tuple[Order, ...]:
    """Draw what somebody does meanwhile; whatever was paused goes on."""
    if rng.random() < 0.6:
        return ()
    orders, pauses = [], 0
    for number in range(rng.randint(1, 4 * parts)):
        jumps = ("next", "prev", "seek") if number < JUMPS_MAX else ()
        kind = rng.choice(
            ("pause", "resume", *jumps, "resync") if pauses < PAUSES_MAX else ("resume", *jumps, "resync")
        )
        at_s = rng.uniform(2.0, faults_s)
        orders.append(Order(kind=kind, at_s=at_s, seconds=rng.uniform(0.0, seconds / 4)))
        if kind == "pause":
            pauses += 1
            orders.append(Order(kind="resume", at_s=min(at_s + rng.uniform(0.0, PAUSE_S_MAX), faults_s)))
    return (*orders, Order(kind="resume", at_s=faults_s))


def _villains(rng: Random, faults_s: float) -> tuple[Villain, ...]:
    if rng.random() < 0.7:
        return ()
    return tuple(
        Villain(
            kind=rng.choice(VILLAINS),
            at_s=(at_s := rng.uniform(0.0, faults_s - 3.0)),
            for_s=min(rng.uniform(3.0, VILLAIN_S_MAX), faults_s - at_s),
            rate_per_s=rng.choice((5.0, 100.0)),
        )
        for _ in range(rng.randint(1, 2))
    )
