"""What a person can order a host to do, and what it tells of itself; the same for keys, `ctl` and a web page."""

from enum import StrEnum


class Command(StrEnum):
    """The orders."""

    PLAY = "play"
    PAUSE = "pause"
    RESUME = "resume"
    NEXT = "next"
    PREV = "prev"
    SEEK = "seek"
    STOP = "stop"
    RESYNC = "resync"


RESTART_S = 3.0  # "previous" after so much of a song goes to its own beginning, as on every player
