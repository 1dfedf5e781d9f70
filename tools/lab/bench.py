"""Measures how well listeners keep together, in scenarios, on virtual sound cards in network namespaces.

    bench.py clean loss5 --seconds 60          some scenarios of scenarios.toml; all but the long ones if none is named
    bench.py clean --compare snapcast          Snapcast in the same session of measurements
    bench.py clean loss5 --compare sim         and the same scenarios in the simulator
    bench.py far --repeat 3 --out results      three runs each; figures, logs and plots stay in the folder

Needs root and Linux; what it needs from the system it installs (apt-get) or names.  See README.md for the figures.
"""

import argparse
import compileall
import ctypes.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import checks
import files
import meter
import plot
import twin
from lan import HERE, LabError
from runner import Run, Scenario, System
from systems import Radiosync, Snapcast

LONG = {"long", "live-300ms"}  # only when named
COMMANDS = {"ip": "iproute2", "nft": "nftables", "ethtool": "ethtool", "unshare": "util-linux", "gcc": "gcc"}
HEADER = Path("/usr/include/alsa/pcm_external.h")
COLUMNS = (
    "scenario",
    "system",
    "lag µs: median / p95 / p99 / max",
    "quiet",
    "wander µs",
    "said - true µs: median / p95",
    "dropouts",
    "glitches",
    "symbols lost / repaired",
    "first sound s",
    "in sync s",
    "rate excess ppm",
    "CPU % host / listeners",
    "RSS MiB",
    "waited %",
    "stalls > 20 ms",
    "quiet windows",
    "busy cores",
)
LOST = "counted_symbols_lost"
Json = dict[str, Any]


def prepare(systems: list[System]) -> None:
    """See to it that this machine has what the lab needs."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise LabError("the lab makes network namespaces, which takes root on Linux: sudo tools/lab/run …")
    if not Path("/dev/net/tun").exists():
        raise LabError("/dev/net/tun is missing: load the kernel module tun, or allow it in this container")
    compileall.compile_dir(HERE.parents[1] / "radiosync", quiet=2)  # or every start compiles, where none may write
    missing = [package for command, package in COMMANDS.items() if shutil.which(command) is None]
    missing += [] if HEADER.exists() else ["libasound2-dev"]
    missing += [] if ctypes.util.find_library("portaudio") else ["libportaudio2"]
    missing += [name for system in systems for name in system.packages if shutil.which(name) is None]
    if not missing:
        return
    print(f"lab: installing {' '.join(missing)}", file=sys.stderr)
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing]
    if shutil.which("apt-get") is None or subprocess.run(install, stdout=subprocess.DEVNULL, check=False).returncode:
        raise LabError(f"these packages are missing and could not be installed: {' '.join(missing)}")


def scenarios(names: list[str], seconds: float | None, warm_up: float | None) -> list[Scenario]:
    """Return the scenarios of these names."""
    table = tomllib.loads((HERE / "scenarios.toml").read_text())
    known = table["scenario"]
    if unknown := [name for name in names if name not in known]:
        raise LabError(f"there is no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    options = {"seconds": seconds, "warm_up": warm_up}
    given = {key: value for key, value in options.items() if value is not None}
    chosen = names or [name for name in known if name not in LONG]
    everywhere = table["defaults"].pop("expect")
    found = [Scenario(**{"name": name} | table["defaults"] | known[name] | given) for name in chosen]
    return [replace(one, expect=everywhere | one.expect) if one.output == "device" else one for one in found]


def once(scenario: Scenario, system: System, folder: Path, *, keep: bool) -> bool:
    """Do one run, print its figures, leave them with plot and logs in `folder`; say whether all was as expected."""
    folder.mkdir(parents=True)
    Run(scenario, system, folder, scenario.name).measure()
    if scenario.output == "wav":
        report = files.report(folder)
    else:
        judged = meter.load(folder)
        report = judged.report()
        if not plot.draw(judged, folder / "plot.png"):
            print("lab: no plots without matplotlib: pip install -e '.[lab]'", file=sys.stderr)
    checked = checks.judge(scenario.expect, report, folder) if system.name == Radiosync.name else []
    report["checks"] = [asdict(check) for check in checked]
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    if not keep:
        for path in (*folder.glob("card*.s16"), *folder.glob("listener*.wav"), folder / "signal.wav"):
            path.unlink(missing_ok=True)
    if scenario.output == "device":
        print(row(cells(report)), flush=True)
    for line in checked:
        print(f"    {line}", flush=True)
    return all(check.ok for check in checked)


def cells(report: Json) -> list[str]:
    """Return a report as cells of the table."""
    listeners, machine, resources = report["listeners"], report.get("machine"), report.get("resources", {})

    def lag(values: Json | None) -> str:
        if not values or not values["n"]:
            return "-"
        return " / ".join(f"{values[key]:.0f}" for key in ("median", "p95", "p99", "max"))

    def each(what: Any) -> str:
        return " ".join("-" if value is None else f"{value:g}" for value in map(what, listeners))

    def said(listener: Json) -> str:
        values = listener.get("said_minus_true_us", {"n": 0})
        return f"{values['signed_median']:.0f} / {values['p95']:.0f}" if values["n"] else "-"

    def start(listener: Json, key: str) -> float | None:
        found = [values[key] for values in listener["starts"] if values[key] is not None]
        return max(found) if len(found) == len(listener["starts"]) else None

    def cost(key: str) -> str:
        own = [values[key] for name, values in resources.items() if name != "host"]
        return f"{resources['host'][key]:g} / {' '.join(f'{value:g}' for value in own)}" if own else "-"

    return [
        report["label"],
        report["system"],
        lag(report.get("lag_us")),
        lag(report.get("lag_quiet_us")),
        each(lambda v: v["error_us"].get("sd")),
        "; ".join(said(v) for v in listeners),
        each(lambda v: v.get("dropouts")),
        each(lambda v: v.get("glitches")),
        " ".join(f"{v['counted_symbols_lost']} / {v['counted_symbols_repaired']}" for v in listeners if LOST in v)
        or "-",
        each(lambda v: start(v, "first_sound_s")),
        each(lambda v: start(v, "in_sync_100us_s")),
        each(lambda v: v.get("rate_excess_ppm_max")),
        cost("cpu_percent"),
        cost("rss_mib"),
        cost("waited_percent"),
        f"{machine['stalls_over_20ms']} (worst {machine['worst_stall_ms']:.0f} ms)" if machine else "-",
        f"{machine['quiet_windows']}/{machine['windows']}" if machine else "-",
        str(machine.get("busy_cores", "-")) if machine else "-",
    ]


def row(values: tuple[str, ...] | list[str]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(values) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--seconds", type=float, help="to measure, instead of the scenario's")
    parser.add_argument("--warm-up", type=float, help="seconds that don't count, instead of the scenario's")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--compare", choices=["snapcast", "sim"], help="run this as well")
    parser.add_argument("--only-other", action="store_true", help="with --compare: leave radiosync out")
    parser.add_argument("--program", type=Path, default=Path(sys.executable).with_name("radiosync"))
    parser.add_argument(
        "--host-option", action="append", default=[], help="for radiosync host: --host-option=--codec=pcm"
    )
    parser.add_argument("--out", type=Path, help="folder for figures, logs and plots; a temporary one if not given")
    parser.add_argument("--keep", action="store_true", help="keep the recordings, to judge them again")
    options = parser.parse_args()
    systems: list[System] = [] if options.only_other else [Radiosync(options.program, tuple(options.host_option))]
    systems += [Snapcast()] if options.compare == "snapcast" else []
    out = (options.out or Path(tempfile.mkdtemp(prefix="lab-"))).resolve()
    good = True
    try:
        chosen = scenarios(options.scenarios, options.seconds, options.warm_up)
        prepare(systems)
        print(row(COLUMNS), row(["---"] * len(COLUMNS)), sep="\n", flush=True)
        for scenario in chosen:
            for system in systems:
                for _ in range(options.repeat):
                    name = f"{scenario.name}-{system.name}"
                    taken = sum(path.is_dir() for path in out.glob(f"{name}-*"))
                    good &= once(scenario, system, out / f"{name}-{taken + 1}", keep=options.keep)
            if options.compare == "sim":
                for seed in range(1, options.repeat + 1):
                    print(row(cells(twin.simulate(scenario, seed))), flush=True)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"lab: figures, logs and plots are in {out}", file=sys.stderr)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
