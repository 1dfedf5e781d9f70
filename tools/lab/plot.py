"""Draws a run over time; needs matplotlib, which nothing else here does."""

from pathlib import Path

import numpy as np
from meter import STALL_MS, WINDOW_NS, Meter
from track import STEP_NS


def draw(meter: Meter, path: Path) -> bool:
    """Write a PNG of lag, error, correction and buffer over time; say whether it could be done."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(4, 1, figsize=(12, 12), sharex=True, layout="constrained")
    fine_s = (np.arange(len(meter.tracks[0].offset_ns)) + 0.5) * STEP_NS / 1e9
    coarse_s = (np.arange(len(meter.measured)) + 0.5) * WINDOW_NS / 1e9
    for i, track in enumerate(meter.tracks):
        color = f"C{i}"
        error_us = (track.offset_ns - meter.centre) / 1e3
        axes[1].plot(fine_s, error_us, ".", color=color, markersize=1.5, alpha=0.4)
        if i > 0:
            lag_us = (track.offset_ns - meter.tracks[0].offset_ns) / 1e3
            axes[0].plot(fine_s, lag_us, ".", color=color, markersize=1.5, alpha=0.4)
            axes[0].plot(coarse_s, (meter.coarse[i] - meter.coarse[0]) / 1e3, color=color, label=f"{i} - 0")
        rows = meter.meta.get("stats", [[]] * (i + 1))[i]
        at = [(row["machine_ns"] - meter.begin_ns) / 1e9 for row in rows]
        for axis, key, scale in ((1, "sync_error_ns", 1e-3), (2, "rate_ppm", 1.0), (3, "buffer_s", 1.0)):
            said = [np.nan if row.get(key) is None else row[key] * scale for row in rows]
            axes[axis].plot(at, said, color=color, linewidth=1, label=f"listener {i}")
    shown = np.concatenate([(track - meter.centre) / 1e3 for track in meter.coarse])
    shown = shown[np.isfinite(shown)]
    if len(shown):  # what was measured, not what happened before
        low, high = float(shown.min()), float(shown.max())
        room = max(20.0, 0.5 * (high - low))
        axes[1].set_ylim(low - room, high + room)
        axes[0].set_ylim(low - high - room, high - low + room)
    begin_s = (meter.meta["measure_from"] - meter.begin_ns) / 1e9
    for axis, name in zip(
        axes, ("true lag, µs", "error: true (dots), said (line), µs", "rate, ppm", "buffer, s"), strict=True
    ):
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
        axis.axvline(begin_s, color="k", linestyle=":")
        for stall in meter.meta["stalls"]:
            if stall["ms"] > STALL_MS:
                axis.axvline((stall["t"] - meter.begin_ns) / 1e9, color="r", alpha=0.3, linewidth=1)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="upper right", fontsize="small")
    axes[0].set_title(f"{meter.meta['label']} ({meter.meta['system']}); red: the machine stood still")
    axes[-1].set_xlabel("s since the first listener's start; dotted: measured from here on")
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
    return True
