"""The same scenario in the simulator: the production sessions in virtual time, with the physics of `scenarios.toml`.

The figures are the lab's own: lags averaged over 1 s, of all pairs, after the warm-up.  What a machine costs and how it
stalls does not exist in virtual time, nor do the start of a process and its imports.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from lan import Link, Way
from meter import IN_SYNC_NS, RATE_SETTLED_NS, RENDERED_AHEAD_NS, STEP_NS, Signal, first_in_sync, spread, windows
from runner import Scenario

from radiosync.listener.playout import DevicePlayout
from radiosync.sim import scenario as sim
from radiosync.sim.card import DacRecord, DacSettings
from radiosync.sim.clocks import ClockSettings
from radiosync.sim.link import LinkSettings
from radiosync.sim.measure import Heard, heard
from radiosync.sim.nodes import ListenerNode
from radiosync.sim.run import build
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, ns_from_s

RATE = 8000  # with which uncompressed floats are as many datagrams as FLAC of the lab's signal
LISTENERS_START_S = 1.0  # after the host, as in the lab
CARD = DacSettings(latency_ns=200 * NS_PER_MS, stamp_jitter_ns=6 * NS_PER_US)  # the lab's card under PortAudio
FAULTS = {"pause": "stall", "unplug": "outage", "throttle": "throttle"}
Json = dict[str, Any]
Said = list[tuple[int, float, float]]


def _link(way: Way) -> LinkSettings:
    usual = LinkSettings()
    share = way.loss_percent / 100
    lossy = replace(usual, loss=share)
    if way.burst > 1 and share:
        # The lab counts bursts in frames; here they pass with time, and the stream has some 40 datagrams a second.
        burst_ns = round(way.burst / 40 * NS_PER_S)
        lossy = replace(usual, burst_ns=burst_ns, burst_every_ns=round(burst_ns * (1 - share) / share))
    if not way.delay_ms:
        return lossy
    least_ns = round((way.delay_ms - way.jitter_ms) * NS_PER_MS)
    uniform_ns = round(2 * way.jitter_ms * NS_PER_MS)
    return replace(lossy, delay_ns=max(usual.delay_ns, least_ns), jitter_uniform_ns=uniform_ns)


def twin_of(lab: Scenario) -> sim.Scenario:
    """Return the simulator's scenario for one of the lab's; raises ValueError for what it can't do."""
    unknown = {event["what"] for event in lab.events} - FAULTS.keys()
    if lab.busy or lab.output != "device" or lab.live_buffer_s or lab.host_last or unknown:
        raise ValueError(f"{lab.name}: the simulator has no twin of this scenario")

    def of(values: list[float], i: int) -> float:
        return values[i] if i < len(values) else 0.0

    listeners = []
    for i, card_ppm in enumerate(lab.card_ppm):
        link, clock_ppm = Link.parse(lab.links.get(str(i), {})), of(lab.clock_ppm, i)
        listeners.append(
            sim.Listeners(
                name=f"room{i}",
                start_s=LISTENERS_START_S,
                clock=ClockSettings(offset_ns=ns_from_s(of(lab.clock_s, i)), skew_ppm=clock_ppm),
                offset_s_spread=0.0,
                down=_link(link.down),
                up=_link(link.up),
                dac=replace(CARD, skew_ppm=card_ppm),
            )
        )
    began_s = LISTENERS_START_S + lab.warm_up
    faults = tuple(
        sim.Fault(
            kind=FAULTS[event["what"]],
            at_s=began_s + event["at"],
            for_s=event["seconds"],
            listeners=(f"room{event['listener']}",),
            kbps=event.get("kbps", 0.0),
        )
        for event in lab.timed()
    )
    return sim.Scenario(
        title=lab.name,
        listeners=tuple(listeners),
        stream=sim.Stream(rate=RATE, channels=2, sample="f32", songs_s=(began_s + lab.seconds + 10,)),
        faults=faults,
        config={"host.codec": "pcm"},
    )


def simulate(lab: Scenario, seed: int) -> Json:
    """Run the twin of `lab` and return the figures that the lab's report has too, under the same names."""
    world = build(twin_of(lab), seed)
    low = ns_from_s(LISTENERS_START_S + lab.warm_up)
    high = low + ns_from_s(lab.seconds)
    said: dict[str, Said] = {}

    def listen(at_ns: int) -> None:
        for node in world.listeners:
            stream = node.session.stream
            if stream is not None and isinstance(stream.playout, DevicePlayout):
                said.setdefault(node.machine.name, []).append(
                    (at_ns, stream.playout.sync_error_ns, stream.playout.correction * 1e6)
                )

    for at_ns in range(low, high, NS_PER_S):
        world.at(at_ns, lambda at_ns=at_ns: listen(at_ns))
    world.run(high)
    tracks = [_track(heard(_record(node), world.hosts[0]), high) for node in world.listeners]
    coarse = [windows(track[low // STEP_NS :]) for track in tracks]
    lags = [b - a for i, a in enumerate(coarse) for b in coarse[i + 1 :]]
    return {
        "label": lab.name,
        "system": "simulator",
        "lag_us": spread(np.concatenate(lags)) if lags else None,
        "listeners": [
            _listener(node, track, windows(track[low // STEP_NS :]), said.get(node.machine.name, []), card_ppm)
            for node, track, card_ppm in zip(world.listeners, tracks, lab.card_ppm, strict=True)
        ],
    }


def _record(node: ListenerNode) -> DacRecord:
    assert node.dac is not None  # twin_of gives each one a card
    return node.dac.record


def _track(found: Heard, until: int) -> Signal:
    """Return the mean lateness in each tenth of a second from the world's beginning on, NaN where nothing was heard."""
    steps = until // STEP_NS
    place = found.at // STEP_NS
    inside = place < steps
    counts = np.bincount(place[inside], minlength=steps)
    sums = np.bincount(place[inside], weights=found.late_ns[inside], minlength=steps)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _listener(node: ListenerNode, track: Signal, coarse: Signal, said: Said, card_ppm: float) -> Json:
    began = node.started_at // STEP_NS
    sounds = np.flatnonzero(np.isfinite(track))
    start: Json = {"first_sound_s": None, "in_sync_100us_s": None}
    if len(sounds):
        start["first_sound_s"] = round((int(sounds[0]) - began) * STEP_NS / NS_PER_S, 1)
        step = first_in_sync(track, IN_SYNC_NS["in_sync_100us_s"], began, len(track))
        start["in_sync_100us_s"] = None if step is None else round((step - began) * STEP_NS / NS_PER_S, 1)
    values: Json = {"error_us": spread(coarse), "starts": [start]}
    if said and len(sounds):
        at, told, rate_ppm = (np.array(column, float) for column in zip(*said, strict=True))
        middle = (sounds + 0.5) * STEP_NS
        values["said_minus_true_us"] = spread(told - np.interp(at + RENDERED_AHEAD_NS, middle, track[sounds]))
        settled = at >= node.started_at + RATE_SETTLED_NS
        if settled.any():
            values["rate_excess_ppm_max"] = round(float(np.abs(rate_ppm[settled] + card_ppm).max()), 2)
    stream = node.session.stream
    if stream is not None:
        counters, playout = stream.counters, stream.playout
        values["counted_symbols_lost"] = counters.symbols_lost
        values["counted_symbols_repaired"] = counters.symbols_repaired
        if isinstance(playout, DevicePlayout):
            values |= {"counted_underruns": playout.underruns, "counted_hard_resyncs": playout.hard_resyncs}
    return values
