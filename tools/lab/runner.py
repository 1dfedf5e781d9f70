"""One run: a host and its listeners in namespaces, each listener with a sound card and clocks of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cards
import noise
from lan import HERE, LabError, Lan, Link
from systems import Place, Radiosync, Snapcast
from usage import machine, members, usage

RATE = 48_000
LEAD_S = 3.0  # the host's before the listeners
SPARE_S = 8  # of signal after the end
STOP_S = 6.0
READINGS = 20
Json = dict[str, Any]
System = Radiosync | Snapcast


@dataclass(frozen=True)
class Scenario:
    """One table of scenarios.toml, where the keys are explained."""

    name: str
    seconds: float
    warm_up: float
    card_ppm: list[float]
    clock_ppm: list[float] = field(default_factory=list)
    clock_s: list[float] = field(default_factory=list)
    links: dict[str, Json] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    busy: bool = False
    output: str = "device"
    host_last: bool = False
    live_buffer_s: float = 0.0
    live_ppm: float = 0.0
    expect: Json = field(default_factory=dict)

    @property
    def listeners(self) -> int:
        """How many there are."""
        return len(self.card_ppm)

    def timed(self) -> list[Json]:
        """Return every single event, in order, with its seconds after the warm-up."""
        events = [
            event | {"at": event["at"] + k * event.get("every", 0)}
            for event in self.events
            for k in range(event.get("times", 1))
        ]
        return sorted((e for e in events if e["at"] < self.seconds), key=lambda e: e["at"])


def raw_ns() -> int:
    """Read the clock that the cards live by."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def real_minus_raw_ns() -> int:
    """Return CLOCK_REALTIME minus the cards' clock, from the narrowest of some bracketed readings."""
    brackets = []
    for _ in range(READINGS):
        before, real, after = raw_ns(), time.time_ns(), raw_ns()
        brackets.append((after - before, real - (before + after) // 2))
    return min(brackets)[1]


def of(values: list[float], i: int) -> float:
    """Return the i-th value, 0 where the list is too short."""
    return values[i] if i < len(values) else 0.0


class Run:
    """What one run has started; everything is ended when its block is left."""

    def __init__(
        self, scenario: Scenario, system: System, folder: Path, label: str, *, spare_s: float = SPARE_S
    ) -> None:
        self._spare_s = spare_s
        self.scenario, self.system, self.folder, self.label = scenario, system, folder, label
        links = {int(i): Link.parse(values) for i, values in scenario.links.items()}
        self.lan = Lan(scenario.listeners, links)
        self.place = self._place()
        self.starts: list[list[int]] = [[] for _ in range(scenario.listeners)]
        self.events: list[Json] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._cards = [cards.set_up(folder / f"card{i}", ppm) for i, ppm in enumerate(scenario.card_ppm)]

    def measure(self) -> Json:
        """Run, and return what the meter needs to know (which is in run.json too)."""
        span_s = self.scenario.warm_up + self.scenario.seconds
        noise.write_wav(self.folder / "signal.wav", round(LEAD_S + span_s + self._spare_s), RATE)
        try:
            with self.lan:
                try:
                    meta = self._in_lan(span_s)
                finally:
                    self._end()
        finally:
            self._end()
        meta["relay"] = self.lan.relay_counts
        stalls = (self.folder / "stalls.jsonl").read_text().splitlines()
        meta["stalls"] = [json.loads(line) for line in stalls]
        (self.folder / "run.json").write_text(json.dumps(meta))
        return meta

    def _in_lan(self, span_s: float) -> Json:
        scenario = self.scenario
        self._start("stalls", [sys.executable, str(HERE / "stalls.py"), str(self.folder / "stalls.jsonl")])
        time.sleep(1.5)  # the bridge asks who is in which group
        with self.system.fed(self.place, RATE):
            if scenario.host_last:
                self._listen_all()
                time.sleep(LEAD_S)
            self._start("host", ["ip", "netns", "exec", self.lan.host, *self.system.host(self.place)])
            time.sleep(LEAD_S)
            host_minus_machine_ns = real_minus_raw_ns()  # the host's clock is the raw one, set by UTC at its start
            if not scenario.host_last:
                self._listen_all()
            if scenario.busy:
                self._load(span_s)
            began = raw_ns()
            measured_from = began + round(scenario.warm_up * 1e9)
            self._wait_until(measured_from)
            watched = ["host", *(f"listener{i}" for i in range(scenario.listeners))]
            before, machine_before = {name: self._usage(name) for name in watched}, machine()
            idle_before = usage(self._processes["stalls"].pid)
            self._play_events(measured_from)
            self._wait_until(began + round(span_s * 1e9))
            after, machine_after = {name: self._usage(name) for name in watched}, machine()
            idle_after = usage(self._processes["stalls"].pid)
            died = [name for name in watched if self._processes[name].poll() is not None]
            stopped = raw_ns()
            for i in range(scenario.listeners):
                self._stop(f"listener{i}")
            self._stop("host")
        restarted = {f"listener{e['listener']}" for e in self.events if e["what"] == "restart"}
        elapsed = machine_after["at"] - machine_before["at"]
        spun_s = idle_after.cpu_s - idle_before.cpu_s
        return {
            "label": self.label,
            "system": self.system.name,
            "rate": RATE,
            "card_ppm": scenario.card_ppm,
            "clock_ppm": scenario.clock_ppm,
            "links": scenario.links,
            "starts": self.starts,
            "events": self.events,
            "measure_from": measured_from,
            "measure_to": stopped - 1_000_000_000,
            "stopped": stopped,
            "died": died,
            "play_at_zero": self.system.play_at_zero(self.place, host_minus_machine_ns),
            "stats": [self._stats(i) for i in range(scenario.listeners)],
            "resources": {name: after[name].since(before[name]) for name in watched if name not in restarted},
            "machine": {
                "busy_cores": round((machine_after["busy_s"] - machine_before["busy_s"] - spun_s) / elapsed, 2),
                "steal_percent": round((machine_after["steal_s"] - machine_before["steal_s"]) / elapsed * 100, 2),
            },
        }

    def _place(self, i: int = 0, start: int = 0) -> Place:
        scenario = self.scenario
        live = (scenario.live_buffer_s, scenario.live_ppm)
        return Place(self.folder, self.lan.host_ip, i, self.lan.ip(i), start, scenario.output, *live)

    def _listen_all(self) -> None:
        for i in range(self.scenario.listeners):
            self._listen(i)

    def _listen(self, i: int) -> None:
        """Start listener i in its namespaces, with its card and its clocks."""
        command = ["ip", "netns", "exec", self.lan.listener(i)]
        if ahead_s := round(of(self.scenario.clock_s, i)):
            command += ["unshare", "--time", "--monotonic", str(ahead_s)]
        if ppm := of(self.scenario.clock_ppm, i):
            command += ["env", f"LD_PRELOAD={cards.library('skew')}", f"LAB_SKEW_PPM={ppm}"]
        place = self._place(i, len(self.starts[i]))
        self.starts[i].append(raw_ns())
        self._start(f"listener{i}", command + self.system.listener(place), self._cards[i])

    def _play_events(self, from_ns: int) -> None:
        for event in self.scenario.timed():
            self._wait_until(from_ns + round(event["at"] * 1e9))
            i, began = event["listener"], raw_ns()
            match event["what"]:
                case "pause":
                    os.killpg(self._processes[f"listener{i}"].pid, signal.SIGSTOP)
                    self._wait_until(began + round(event["seconds"] * 1e9))
                    os.killpg(self._processes[f"listener{i}"].pid, signal.SIGCONT)
                case "unplug":
                    self.lan.plug(i, connected=False)
                    self._wait_until(began + round(event["seconds"] * 1e9))
                    self.lan.plug(i, connected=True)
                case "throttle":
                    self.lan.throttle(i, event["kbps"])
                    self._wait_until(began + round(event["seconds"] * 1e9))
                    self.lan.throttle(i, None)
                case "restart":
                    self._stop(f"listener{i}")
                    self._listen(i)
                case other:
                    raise LabError(f"there is no event {other!r}")
            self.events.append({"what": event["what"], "listener": i, "from": began, "to": raw_ns()})

    def _load(self, span_s: float) -> None:
        for cpu in range(os.cpu_count() or 1):
            self._start(f"load{cpu}", ["timeout", str(span_s + 60), sys.executable, "-c", "while True: pass"])

    def _stats(self, i: int) -> list[Json]:
        """Return what listener i said of itself, with the machine's time of each line."""
        rows = []
        skew, ahead_ns = of(self.scenario.clock_ppm, i) * 1e-6, round(of(self.scenario.clock_s, i)) * 1_000_000_000
        for k, start in enumerate(self.starts[i]):
            for row in self.system.stats(self._place(i, k)):
                local_ns = row["t"] * 1e9 - ahead_ns
                rows.append(row | {"machine_ns": local_ns - (local_ns - start) * skew})
        return rows

    def _usage(self, name: str) -> Any:
        return usage(self._processes[name].pid)

    def _start(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        self._processes[name] = subprocess.Popen(
            command,
            # Machines of their own remember on their own, and nothing from one run to the next.
            env=os.environ | {"XDG_STATE_HOME": str(self.folder / f"{name}-state")} | (environment or {}),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()

    def _stop(self, name: str) -> None:
        """End a process and its children: it may be `unshare` that we know, and the program its child."""
        group = self._processes[name].pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)
        until = time.monotonic() + STOP_S
        while self._processes[name].poll() is None or members(group):
            if time.monotonic() > until:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
                self._processes[name].wait()
                break
            time.sleep(0.02)

    def _end(self) -> None:
        for name in reversed(list(self._processes)):
            self._stop(name)

    @staticmethod
    def _wait_until(at_ns: int) -> None:
        time.sleep(max(0, at_ns - raw_ns()) / 1e9)
