#!/usr/bin/env python3
"""Measures the clock's estimate: how wrong it is over networks of several kinds, and how long one that was bad is felt.

    .venv/bin/python tools/bench_clock.py
    .venv/bin/python tools/bench_clock.py --runs 50 --kinds wifi half

One question a second, crystals up to 30 ppm apart, delays as drawn, in virtual time.  Told are, from the second minute
on, the rms and the 99th percentile of the error, and the 95th of its size over the sigma that is stated, which an
honest normal error would have at 2; and for a network that is bad for the first minute, after how many seconds of a
good one the error stays within 100 µs.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from radiosync.clock.exchange import Exchange
from radiosync.clock.filter import ClockFilter
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, LocalNs

SECONDS, FROM_S = 240.0, 60.0
ROAD_NS, ANSWER_NS = NS_PER_MS, 20_000
SKEW_MAX, WITHIN_US = 30e-6, 100.0
Draw = Callable[[np.random.Generator, float], tuple[float, float]]


def _two(draw: Callable[[], float]) -> tuple[float, float]:
    return draw(), draw()


def _half(rng: np.random.Generator, at_s: float) -> tuple[float, float]:
    queue_ns = rng.uniform(10e6, 50e6) if at_s % 20 < 10 else 0.0
    return rng.gamma(2, 50e3) + queue_ns, rng.gamma(2, 50e3)


KINDS: dict[str, tuple[str, Draw]] = {
    "wired": ("20 µs, exponential", lambda rng, _: _two(lambda: rng.exponential(20e3))),
    "wifi": ("0.3 ms, gamma of shape 2", lambda rng, _: _two(lambda: rng.gamma(2, 150e3))),
    "half": ("0.1 ms, and 10 to 50 ms in a queue one way for 10 s in 20", _half),
    "tail": ("log-normal, median 0.2 ms", lambda rng, _: _two(lambda: 200e3 * rng.lognormal(0, 1))),
    "jitter": ("0 to 20 ms, uniform", lambda rng, _: _two(lambda: rng.uniform(0, 20e6))),
    "mended": (
        "100 ms for a minute, then 20 µs",
        lambda rng, at_s: _two(lambda: rng.exponential(100e6 if at_s < FROM_S else 20e3)),
    ),
}


def run(draw: Draw, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return rows of second, error in µs and stated sigma in µs, one for each exchange."""
    rng = np.random.default_rng(seed)
    clock, skew, begin_ns, at_s = ClockFilter(), rng.uniform(-SKEW_MAX, SKEW_MAX), int(rng.integers(10**15)), 0.0
    rows = []
    while (at_s := at_s + rng.exponential(1.0)) < SECONDS:
        up_ns, down_ns = (ROAD_NS + round(delay_ns) for delay_ns in draw(rng, at_s))
        sent_at = round(at_s * NS_PER_S)
        arrived_at, answered_at = sent_at + up_ns, sent_at + up_ns + ANSWER_NS
        received_at = answered_at + down_ns
        clock.add(
            Exchange(
                sent_at=LocalNs(sent_at),
                host_received_at=HostNs(arrived_at + begin_ns + round(skew * arrived_at)),
                host_sent_at=HostNs(answered_at + begin_ns + round(skew * answered_at)),
                received_at=LocalNs(received_at),
            )
        )
        if (mapping := clock.mapping()) is not None:
            now = LocalNs(received_at)
            error_ns = mapping.host_from_local(now) - now - begin_ns - skew * now
            rows.append((received_at / NS_PER_S, error_ns / 1e3, mapping.sigma_ns_at(now) / 1e3))
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        told, draw = KINDS[kind]
        runs = [run(draw, seed) for seed in range(arguments.runs)]
        later = np.concatenate([rows[rows[:, 0] > FROM_S] for rows in runs])
        errors_us, shares = np.abs(later[:, 1]), np.abs(later[:, 1] / later[:, 2])
        line = f"{kind:8} rms {np.sqrt(np.mean(errors_us**2)):7.1f} µs, 99 % {np.percentile(errors_us, 99):7.1f}, "
        line += f"of sigma 95 % {np.percentile(shares, 95):4.2f}"
        if kind == "mended":
            off = [rows[(rows[:, 0] > FROM_S) & (np.abs(rows[:, 1]) > WITHIN_US), 0] for rows in runs]
            waits_s = [float(each.max()) - FROM_S if each.size else 0.0 for each in off]
            line = (
                f"{kind:8} within {WITHIN_US:.0f} µs after {np.median(waits_s):.0f} s, at worst {max(waits_s):.0f} s, "
            )
            line += f"of sigma 95 % {np.percentile(shares, 95):4.2f}"
        print(f"{line}   ({told})")


if __name__ == "__main__":
    main()
