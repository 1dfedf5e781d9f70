#!/usr/bin/env python3
"""Lets hundreds of listeners come to a host, each a whole protocol session on sockets of its own, in one process.

    .venv/bin/radiosync host --source tune.flac --loop --group 239.255.77.9 --interface lo
    .venv/bin/python tools/swarm.py --group 239.255.77.9 --interface lo --listeners 200 --source tune.flac --loss 1

The first few (`--exact`) decode all that they play and compare it with `--source`, frame by frame; the others compare
the CRCs of their chunks.  `--join-over 1` lets all come within a second, `--churn 10` lets each stay for about ten, and
`--hostile nack-all` puts `--others` peers beside them that ask for everything, for ever (or `never-read`,
`join-leave`).  On the loopback interface `--machines 50` gives the listeners fifty addresses, and the others another;
`--out-of-reach 10` lets the last ten get nothing by multicast.  Prints a table, and exits with 1 where somebody did not
play, or heard what was wrong.
"""

import argparse
import contextlib
import resource
import sys
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import soundfile

from radiosync.config import Config
from radiosync.drivers.clocks import local_now
from radiosync.drivers.interfaces import find_interface
from radiosync.errors import UserError
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs, ns_from_s

sys.path.insert(0, str(Path(__file__).parent))

from swarm_listeners import Checked, Member, Place, Swarm, Truth
from swarm_others import KINDS, Other

LATE_MS_MAX = 250.0  # of the slowest hundredth of the swarm's own ticks: beyond it, its figures are its own


@dataclass
class Totals:
    """What is counted of those who have gone, and of those who are here."""

    members: int = 0
    nacks: int = 0
    lost: int = 0
    symbols_lost: int = 0
    symbols_repaired: int = 0
    symbols_backfilled: int = 0
    concealed: int = 0
    mutes: int = 0
    checked: Checked = field(default_factory=Checked)
    waits_s: list[float] = field(default_factory=list)
    """How long each took to play, of those who did."""
    never: int = 0
    """Who stayed long enough to play, and did not."""

    def add(self, member: Member, now: LocalNs, patience_ns: int) -> None:
        """Count a member."""
        self.members += 1
        self.lost += member.lost
        stream = member.session.stream
        if stream is not None:
            counters = stream.counters
            self.nacks += stream.requests.nacks
            self.symbols_lost += counters.symbols_lost
            self.symbols_repaired += counters.symbols_repaired
            self.symbols_backfilled += counters.symbols_backfilled
            self.concealed += stream.chunks_concealed
            self.mutes += stream.mute.count
        for name in Checked.__slots__:
            setattr(self.checked, name, getattr(self.checked, name) + getattr(member.checked, name))
        if member.played_at is not None:
            self.waits_s.append((member.played_at - member.began_at) / NS_PER_S)
        elif now - member.began_at > patience_ns:
            self.never += 1


class Run:
    """One run: who comes when, and what is counted."""

    def __init__(self, options: Any, place: Place, truth: Truth) -> None:
        self.options, self.place, self.truth = options, place, truth
        self.swarm = Swarm(place)
        self.totals = Totals()
        self.patience_ns = ns_from_s(options.patience)
        self._rng = Random(f"{options.seed}/run")
        self._number = 0  # of the next listener, and
        self._other = 0  # of the next that is none
        self._began_at = local_now()
        self._leave_at: dict[int, LocalNs] = {}
        self.harm = 0

    def members(self) -> list[Member]:
        """Return who listens just now."""
        return [peer for peer in self.swarm.peers if isinstance(peer, Member)]

    def each_tick(self, now: LocalNs) -> None:
        """Let come who should be here by now, and go who has stayed long enough."""
        options = self.options
        for member in self.members():
            if now >= self._leave_at.get(id(member), now + 1):
                self.totals.add(member, now, self.patience_ns)
                del self._leave_at[id(member)]
                self.swarm.remove(member, politely=self._rng.random() < 0.5)
        for peer in [p for p in self.swarm.peers if isinstance(p, Other) and p.done]:
            self.harm += peer.asked
            self.swarm.remove(peer, politely=False)
        share = min(1.0, (now - self._began_at) / max(1, ns_from_s(options.join_over)))
        while len(self.members()) < round(share * options.listeners):
            self._come(now)
        while options.beside and sum(isinstance(p, Other) for p in self.swarm.peers) < options.others:
            self._other += 1
            self.swarm.add(
                Other(
                    self.place,
                    self._other,
                    options.beside,
                    seed=options.seed,
                    now=now,
                    report_ns=ns_from_s(options.report_s),
                )
            )

    def end(self) -> None:
        """Count who is still here, and let all go."""
        now = local_now()
        for member in self.members():
            self.totals.add(member, now, self.patience_ns)
        self.harm += sum(peer.asked for peer in self.swarm.peers if isinstance(peer, Other))
        self.swarm.close()

    def _come(self, now: LocalNs) -> None:
        options, number = self.options, self._number
        self._number += 1
        member = Member(
            self.place,
            number,
            self.truth,
            loss=options.loss / 100,
            seed=options.seed,
            exact=number < options.exact,
            now=now,
            reached=number < options.listeners - options.out_of_reach,
        )
        self.swarm.add(member)
        if options.churn:
            self._leave_at[id(member)] = LocalNs(now + ns_from_s(self._rng.uniform(0.5, 1.5) * options.churn))


def kernel_drops(port: int) -> int:
    """Return how many datagrams the kernel dropped at sockets on `port`; 0 where it does not say."""
    try:
        lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return 0
    rows = [line.split() for line in lines]
    return sum(int(row[-1]) for row in rows if int(row[1].split(":")[1], 16) == port)


def share(values: list[float], part: float) -> float:
    """Return the value that `part` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else float("nan")


def report(run: Run, seconds: float, cpu_s: float, drops: int) -> bool:
    """Print the table; say whether all is well."""
    t, options, traffic = run.totals, run.options, run.swarm.traffic
    late_ms = share([late / NS_PER_MS for late in run.swarm.late_ns], 0.99)
    peak = max(traffic.bytes_in.values(), default=0) * 8 / 1e6
    again = max(traffic.again_in.values(), default=0) * 8 / 1e6
    mean = sum(traffic.bytes_in.values()) * 8 / 1e6 / seconds
    waits = t.waits_s
    rows: list[tuple[str, str]] = [
        ("listeners, of them exact", f"{t.members}, {min(options.exact, t.members)}"),
        ("have played, have not", f"{len(waits)}, {t.never}"),
        (
            "from coming to playing: median, 95 %, last",
            f"{share(waits, 0.5):.2f}, {share(waits, 0.95):.2f}, {share(waits, 1):.2f} s",
        ),
        ("datagrams taken from them", f"{t.lost}"),
        ("NACKs sent", f"{t.nacks}"),
        ("symbols lost, repaired, backfilled", f"{t.symbols_lost}, {t.symbols_repaired}, {t.symbols_backfilled}"),
        ("chunks concealed, times muted", f"{t.concealed}, {t.mutes}"),
        ("chunks compared, different", f"{t.checked.chunks}, {t.checked.chunks_different}"),
        ("frames compared with the source, different", f"{t.checked.frames}, {t.checked.frames_different}"),
        ("from the host: mean, most in a second, of that again", f"{mean:.2f}, {peak:.2f}, {again:.2f} Mbit/s"),
        (
            "the swarm itself: processor, latest hundredth of ticks, drops",
            f"{cpu_s / seconds:.0%}, {late_ms:.0f} ms, {drops}",
        ),
    ]
    if options.beside:
        rows.append((f"{options.others} × {options.beside}: datagrams sent", f"{run.harm}"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    if late_ms > LATE_MS_MAX or drops:
        print("the swarm itself could not keep up: fewer listeners, or a machine with more to spare")
    good = bool(waits) and not t.never and not t.checked.chunks_different and not t.checked.frames_different
    good = good and (bool(options.loss) or options.churn > 0 or not t.concealed)
    print("all is well" if good else "NOT well")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--machines", type=int, default=1, help="addresses they have; the others beside have another")
    parser.add_argument("--exact", type=int, default=2, help="so many of them decode all they play")
    parser.add_argument("--group", default="239.255.77.77")
    parser.add_argument("--port", type=int, default=45450)
    parser.add_argument("--interface", default="lo")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--source", type=Path, help="what the host plays: one song, looped or not")
    parser.add_argument("--loss", type=float, default=0.0, help="per cent of what each is sent")
    parser.add_argument("--out-of-reach", type=int, default=0, help="the last so many get nothing by multicast")
    parser.add_argument("--join-over", type=float, default=5.0, help="seconds within which all come")
    parser.add_argument("--churn", type=float, default=0.0, help="seconds that each stays, in the mean; 0: to the end")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds after which who does not play has failed")
    parser.add_argument("--beside", "--hostile", choices=KINDS, help="who else comes, beside the listeners")
    parser.add_argument("--others", type=int, default=100, help="how many of those")
    parser.add_argument("--report-s", type=float, default=1.0, help="how often a report-only reports")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        good = swarm(options)
    except UserError as error:
        print(f"swarm: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(not good)


def swarm(options: Any) -> bool:
    """Run the swarm, and say whether all is well."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))  # two sockets each
    keys = {"network.group": options.group, "network.port": options.port, "radio_sync.adaptive_quality": False}
    config = Config.load(None, keys)
    source = None
    if options.source is not None:
        with soundfile.SoundFile(options.source) as file:
            kind = {"PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32", "FLOAT": "float32"}[file.subtype]
            source = file.read(dtype=kind, always_2d=True)
    place = Place(config, find_interface(options.interface, options.group), options.machines)
    run = Run(options, place, Truth(source))
    used = resource.getrusage(resource.RUSAGE_SELF)
    before_s, began_at = used.ru_utime + used.ru_stime, local_now()
    with contextlib.suppress(KeyboardInterrupt):
        run.swarm.run(LocalNs(began_at + ns_from_s(options.seconds)), run.each_tick)
    used = resource.getrusage(resource.RUSAGE_SELF)
    drops = kernel_drops(run.swarm.group_port)
    run.end()
    return report(run, (local_now() - began_at) / NS_PER_S, used.ru_utime + used.ru_stime - before_s, drops)


if __name__ == "__main__":
    main()
