"""Real-time scheduling for the threads that must not be late, where the system allows it.

A listener needs a few per cent of a processor, but when it needs them: its sound device's callback must find the
processor free.  So must that of a host that captures.  Linux gives real-time scheduling to root and to whom the limits
allow it (the group `audio` on most desktops); elsewhere, and where it is refused, things stay as they are.
"""

import contextlib
import os

ROUND_ROBIN_PRIORITY = 5  # above everything that is not real-time, below the sound servers' own threads
NICE = -11  # what sound servers use


def raise_priority() -> str:
    """Raise the priority of this thread, and of those it will start; return what came of it."""
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(ROUND_ROBIN_PRIORITY))
            return "realtime"
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
            return "nice"
    return "normal"
