"""What processes cost, from /proc: processor time, memory, and how long they waited for a processor."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """A sample of a process group; times in s since the start, memory in KiB."""

    at: float
    cpu_s: float
    waited_s: float
    rss_kib: int
    pss_kib: int

    def since(self, before: "Usage") -> dict[str, float]:
        """Return the cost per second since an earlier sample, and the memory now."""
        elapsed = self.at - before.at
        return {
            "cpu_percent": round((self.cpu_s - before.cpu_s) / elapsed * 100, 2),
            "waited_percent": round((self.waited_s - before.waited_s) / elapsed * 100, 2),
            "rss_mib": round(self.rss_kib / 1024, 1),
            "pss_mib": round(self.pss_kib / 1024, 1),
        }


def members(group: int) -> list[int]:
    """Return the processes of a process group."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            if int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[2]) == group:
                found.append(int(name))
    return found


def usage(group: int) -> Usage:
    """Sample all processes of a process group."""
    cpu = waited = 0.0
    rss = pss = 0
    for pid in members(group):
        with contextlib.suppress(OSError):
            # The scheduler's own count, in ns, of every thread: ticks are too coarse for one per cent.
            for thread in os.listdir(f"/proc/{pid}/task"):
                ran_ns, waited_ns, _ = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()
                cpu, waited = cpu + int(ran_ns) / 1e9, waited + int(waited_ns) / 1e9
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    rss += int(line.split()[1])
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1])
    return Usage(time.monotonic(), cpu, waited, rss, pss)


def machine() -> dict[str, float]:
    """Return the machine's busy and stolen processor time so far, in s, idle-priority work not counted as busy."""
    user, nice, system, _, _, irq, softirq, steal = (
        int(value) / TICKS_PER_S for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return {"at": time.monotonic(), "busy_s": user + nice + system + irq + softirq, "steal_s": steal}
