"""Keys in the host's terminal."""

import contextlib
import os
import sys
from typing import Any

from radiosync.host.commands import Command

HELP = "keys: space pauses and resumes, n next, p previous, left and right seek 10 s, s stops, q quits"
SEEK_S = 10.0
_KEYS: dict[bytes, tuple[Command, float]] = {
    b" ": (Command.PAUSE, 0.0),
    b"n": (Command.NEXT, 0.0),
    b"p": (Command.PREV, 0.0),
    b"s": (Command.STOP, 0.0),
    b"\x1b[C": (Command.SEEK, SEEK_S),
    b"\x1b[D": (Command.SEEK, -SEEK_S),
}
QUIT = b"q"


class Keys:
    """Reads single keys from a terminal, which it gives back as it was; nothing where there is or should be none."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._descriptor: int | None = None
        self._old: list[Any] | None = None
        if not wanted:
            return
        try:
            import termios  # noqa: PLC0415  # Unix only
            import tty  # noqa: PLC0415

            descriptor = sys.stdin.fileno()
            if os.isatty(descriptor):
                self._old = termios.tcgetattr(descriptor)
                tty.setcbreak(descriptor)
                self._descriptor = descriptor
        except (ImportError, OSError, ValueError, AttributeError, termios.error):
            pass

    @property
    def active(self) -> bool:
        """Whether there is a terminal to read from."""
        return self._descriptor is not None

    def fileno(self) -> int:
        """Return the terminal's descriptor, for a selector; only while `active`."""
        assert self._descriptor is not None
        return self._descriptor

    def read(self) -> tuple[Command, float] | bytes | None:
        """Return the order that the key just pressed stands for, QUIT, or None."""
        if self._descriptor is None:
            return None
        with contextlib.suppress(OSError):
            pressed = os.read(self._descriptor, 16)
            return QUIT if pressed in (QUIT, b"") else _KEYS.get(pressed)
        return None

    def close(self) -> None:
        """Give the terminal back."""
        if self._descriptor is not None and self._old is not None:
            import termios  # noqa: PLC0415

            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._old)
            self._descriptor = None
