#!/usr/bin/env python3
"""Draws a simulated run: sync error, buffer, loss and ratio of each listener over time; needs matplotlib.

radiosync sim --scenario configs/scenarios/lossy.toml --trace run.jsonl
tools/plot_trace.py run.jsonl run.png
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

NAMED_MAX = 12  # more names than that hide the picture
ERROR_SHARE = 98  # percent of the errors the picture is scaled to: a start or an outage is not all there is


def read(path: Path) -> tuple[str, dict[str, list[dict[str, Any]]], list[dict[str, Any]]]:
    """Return the title, each listener's samples and the rows of events and violations."""
    title, samples, others = str(path), {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "sample":
            samples.setdefault(row["name"], []).append(row)
        elif row["kind"] == "run":
            title = f"{row['title']}, seed {row['seed']}"
        else:
            others.append(row)
    return title, samples, others


def draw(path: Path, picture: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    title, samples, others = read(path)
    figure, axes = pyplot.subplots(5, 1, figsize=(12, 14), sharex=True, layout="constrained")

    def column(rows: list[dict[str, Any]], key: str, scale: float = 1.0) -> Any:
        return np.array([row.get(key, np.nan) for row in rows], dtype=np.float64) * scale

    errors = []
    for index, (name, rows) in enumerate(sorted(samples.items())):
        look = {"color": f"C{index}", "linewidth": 1}
        at = column(rows, "t")
        true_us, clock_us = column(rows, "true_error_ns", 1e-3), column(rows, "clock_error_ns", 1e-3)
        errors.append(true_us)
        axes[0].plot(at, true_us, label=name if index < NAMED_MAX else None, **look)
        axes[1].plot(at, clock_us, **look)
        bound_us = column(rows, "clock_bound_ns", 1e-3)
        axes[1].plot(at, bound_us, at, -bound_us, color=f"C{index}", linewidth=0.4, linestyle=":")
        axes[2].plot(at, column(rows, "buffer_ms", 1e-3), **look)
        axes[3].plot(at, column(rows, "lost"), **look)
        axes[3].plot(at, column(rows, "repaired"), color=f"C{index}", linewidth=1, linestyle="--")
        axes[4].plot(at, column(rows, "ratio_ppm"), **look)
        # A tick under the buffer wherever something was missing.
        concealed = column(rows, "concealed")
        gaps = at[1:][np.diff(concealed) > 0]
        axes[2].plot(gaps, np.zeros(len(gaps)), "|", color=f"C{index}", markersize=10)
    known = np.abs(np.concatenate(errors)) if errors else np.zeros(0)
    known = known[np.isfinite(known)]
    if len(known):
        most = max(10.0, 2.0 * float(np.percentile(known, ERROR_SHARE)))
        axes[0].set_ylim(-most, most)
        axes[1].set_ylim(-2 * most, 2 * most)
    names = (
        "heard late, µs (true)",
        "clock estimate, µs\n(dotted: its bound)",
        "buffer, s\n(ticks: concealed)",
        "symbols lost\n(dashed: repaired)",
        "ratio, ppm",
    )
    for axis, name in zip(axes, names, strict=True):
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
        for row in others:
            if row["kind"] == "event" and "StatusChanged" not in row["event"]:
                axis.axvline(row["t"], color="k", alpha=0.06, linewidth=0.7)
    axes[0].set_title(title + "".join(f"\n{row['violation']}" for row in others if row["kind"] == "violation")[:400])
    if samples:
        axes[0].legend(loc="upper right", fontsize="small", ncols=4)
    axes[-1].set_xlabel("true time, s")
    figure.savefig(picture, dpi=80)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("trace", type=Path, help="what `radiosync sim --trace` wrote")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    arguments = parser.parse_args()
    try:
        draw(arguments.trace, arguments.picture)
    except ImportError:
        print("plot_trace: needs matplotlib: pip install -e '.[lab]'", file=sys.stderr)
        return 2
    except (OSError, ValueError, KeyError) as error:
        print(f"plot_trace: {arguments.trace}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
