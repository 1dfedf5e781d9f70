#!/usr/bin/env python3
"""Says whether what listeners write on a bad network is the source, bit for bit, and what that took.

    sudo .venv/bin/python tools/bench_identity.py                    every case, two minutes each
    sudo .venv/bin/python tools/bench_identity.py loss5 outage       two of them
    sudo .venv/bin/python tools/bench_identity.py loss5 --listeners 10 --buffer 5

A host and its listeners are real processes in the lab's network (`lab/lan.py`), a namespace each; the listeners come
first and write WAV files.  The buffer is the default one, 45 s.  Loss is on both ways of each listener's cable:

    loss5     30 listeners, 5 % independently
    bursts     5 listeners, 10 % in bursts of 4 to 20 frames
    loss30     5 listeners, 30 % independently
    outage     5 listeners, and the host's cable is pulled for 25 s
    stagger   10 listeners, the host's cable is pulled for 25 s, and theirs come back one by one within 5 s more

`identical` is a file with every frame of the source and no other.  Exit status 1 if one is not.

Measured on two cores that were busy with other work; `lost` is the mean of a listener, of the datagrams of music:

    case      identical   music   lost   repairs to one / to all (parity)   NACKs of all
    loss5     30 of 30     5712    283     24 /  801  (801)                   589
    bursts     5 of  5     5712    591    253 / 2143 (1025)                   321
    loss30     5 of  5     5712   1623   1587 / 3953 (2776)                   891
    outage     5 of  5     8379   1902     76 / 1905    (0)                    69
    stagger   10 of 10     8379   2102   1854 / 4476   (68)                   194

How many go to one varies: of loss30 109, of stagger 1138 in another run.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "lab"))

import files
import noise
import numpy as np
from lan import LabError, Lan, Link
from usage import usage

RATE = 48_000
GROUP = "239.255.77.79"
SNOOPED_S = 1.5  # the bridge asks who is in which group
LISTENING = "waiting for a host on"
APART_S = 0.4  # from one listener's start to the next: a start takes most of a second of processor time
LISTENING_S = 20.0
OUTAGE_AT_S, OUTAGE_S, BACK_WITHIN_S = 20.0, 25.0, 5.0
SPARE_S = 40.0  # beyond the song's length until the host has ended by itself
LEFT_S = 2.0  # for the listeners to end their files
STOP_S = 10.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What happens on the network while a song is played."""

    listeners: int
    song_s: int
    loss_percent: float = 0.0
    burst: float = 1.0
    burst_spread: int = 0
    outage: bool = False
    stagger: bool = False

    def links(self, listeners: int) -> dict[int, Link]:
        """Return the listeners' cables."""
        way = {"loss_percent": self.loss_percent, "burst": self.burst, "burst_spread": self.burst_spread}
        return {i: Link.parse(way) for i in range(listeners)}


CASES = {
    "loss5": Case(listeners=30, song_s=75, loss_percent=5),
    "bursts": Case(listeners=5, song_s=75, loss_percent=10, burst=12, burst_spread=8),
    "loss30": Case(listeners=5, song_s=75, loss_percent=30),
    "outage": Case(listeners=5, song_s=110, outage=True),
    "stagger": Case(listeners=10, song_s=110, outage=True, stagger=True),
}


def write_song(path: Path, seconds: int) -> None:
    """Write noise that never repeats, in stereo: as FLAC about 90 datagrams a second, like a CD."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE)
        for number in range(seconds):
            both = [noise.second(2 * number + side * 10_000, RATE) for side in (0, 1)]
            out.writeframes(np.round(np.stack(both, axis=1) * 32767).clip(-32768, 32767).astype("<i2").tobytes())


class Party:
    """The processes of one case."""

    def __init__(self, name: str, listeners: int, options: argparse.Namespace, folder: Path) -> None:
        self.case, self.folder, self.options = CASES[name], folder, options
        self.lan = Lan(listeners, self.case.links(listeners))
        self.numbers = range(listeners)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def play(self) -> Json:
        """Play the song and return what came of it."""
        source = self.folder / "source.wav"
        write_song(source, self.case.song_s)
        try:
            with self.lan:
                try:
                    cpu_s = self._play(source)
                finally:
                    self._end()
        finally:
            self._end()
        return self._judge(source, cpu_s)

    def _play(self, source: Path) -> dict[str, float]:
        time.sleep(SNOOPED_S)
        for i in self.numbers:
            output = ["--output", f"wav:{self.folder / f'{i}.wav'}", "--name", f"room{i}"]
            self._start(f"{i}", self.lan.listener(i), "listen", self.lan.ip(i), output)
            time.sleep(APART_S)
        for i in self.numbers:
            self._wait(lambda i=i: LISTENING in self._log(f"{i}"), LISTENING_S, f"listener {i} to listen")
        song = ["--source", str(source), *self.options.host_option]
        self._start("host", self.lan.host, "host", self.lan.host_ip, song)
        if self.case.outage:
            self._pull()
        cpu_s: dict[str, float] = {}

        def ended() -> bool:
            cpu_s.update({name: usage(each.pid).cpu_s or cpu_s.get(name, 0) for name, each in self._processes.items()})
            return self._processes["host"].poll() is not None

        self._wait(ended, self.case.song_s + SPARE_S, "the host to end")
        time.sleep(LEFT_S)
        return cpu_s

    def _pull(self) -> None:
        time.sleep(OUTAGE_AT_S)
        self.lan.plug("host", connected=False)
        away = list(self.numbers) if self.case.stagger else []
        for i in away:
            self.lan.plug(i, connected=False)
        time.sleep(OUTAGE_S)
        self.lan.plug("host", connected=True)
        for i in away:
            time.sleep(BACK_WITHIN_S / len(away))
            self.lan.plug(i, connected=True)

    def _judge(self, source: Path, cpu_s: dict[str, float]) -> Json:
        signal_ = files.frames(source)
        host = self._last("host", "symbols_sent")
        listeners = []
        for i in self.numbers:
            heard = files.compare(files.frames(self.folder / f"{i}.wav"), signal_)
            identical = heard["begins_at"] == 0 and heard["different"] == 0 and heard["frames"] == len(signal_)
            listeners.append(
                heard | {"identical": identical, "cpu_s": cpu_s[f"{i}"]} | self._last(f"{i}", "nacks_sent")
            )
        return {"host": host | {"cpu_s": cpu_s["host"]}, "listeners": listeners}

    def _start(self, name: str, namespace: str, what: str, ip: str, options: list[str]) -> None:
        command = ["ip", "netns", "exec", namespace, str(self.options.program), what, *options]
        command += ["--group", GROUP, "--interface", ip, "--stats-json", str(self.folder / f"{name}.jsonl")]
        command += ["--buffer", str(self.options.buffer)] if what == "host" and self.options.buffer else []
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env=os.environ | {"XDG_STATE_HOME": str(self.folder / f"{name}-state")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def _last(self, name: str, key: str) -> Json:
        """Return the last statistics that still speak of the stream."""
        lines = (self.folder / f"{name}.jsonl").read_text().splitlines()
        return next((row for row in map(json.loads, reversed(lines)) if key in row), {})

    @staticmethod
    def _wait(done: Callable[[], bool], seconds: float, what: str) -> None:
        until = time.monotonic() + seconds
        while not done():
            if time.monotonic() > until:
                raise LabError(f"waited {seconds:.0f} s for {what}")
            time.sleep(0.5)

    def _end(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def show(name: str, result: Json) -> bool:
    """Print what came of a case; say whether every listener's file is the source."""
    host, listeners = result["host"], result["listeners"]
    repairs = host["repairs_unicast"] + host["repairs_multicast"]
    identical = sum(each["identical"] for each in listeners)
    print(
        f"{name}: {identical} of {len(listeners)} identical; {host['symbols_sent']} datagrams of music, "
        f"{repairs / host['symbols_sent']:.3f} repairs each: {host['repairs_unicast']} to one, "
        f"{host['repairs_multicast']} to all, {host['repairs_parity']} of them parity, {host['nacks_received']} NACKs, "
        f"host {host['cpu_s']:.1f} s of processor"
    )
    for i, each in enumerate(listeners):
        verdict = "identical" if each["identical"] else f"NOT identical: {each['different']} frames differ"
        print(
            f"  listener {i:2}: {verdict}; {each['frames']} frames from {each['begins_at']} on; "
            f"lost {each['symbols_lost']}, repaired {each['symbols_repaired']}, NACKs {each['nacks_sent']}, "
            f"given up {each['repairs_given_up']}, {each['cpu_s']:.1f} s of processor"
        )
    sys.stdout.flush()
    return identical == len(listeners)


def main() -> None:
    parser = argparse.ArgumentParser(description="say whether listeners on a bad network write the source bit for bit")
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all if none is named")
    parser.add_argument("--listeners", type=int, help="instead of as many as the case has")
    parser.add_argument("--buffer", type=float, help="in seconds, instead of the default")
    parser.add_argument("--host-option", action="append", default=[], help="one more word for the host's command line")
    parser.add_argument("--program", type=Path, default=Path(sys.executable).with_name("radiosync"))
    parser.add_argument("--out", type=Path, help="a folder to keep recordings, statistics and logs in")
    options = parser.parse_args()
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        raise SystemExit(f"bench_identity: there is no case {unknown[0]}: {', '.join(CASES)}")
    good = True
    for name in options.cases or CASES:
        with tempfile.TemporaryDirectory(prefix="identity-") as temporary:
            folder = Path(temporary) if options.out is None else options.out / name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                party = Party(name, options.listeners or CASES[name].listeners, options, folder)
                good &= show(name, party.play())
            except LabError as error:
                raise SystemExit(f"bench_identity: {error}") from None
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
