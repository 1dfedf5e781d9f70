"""What both event loops share: signals that wake the loop, a wait to the microsecond, a statistics file."""

import contextlib
import json
import selectors
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from radiosync.errors import UserError
from radiosync.units import NS_PER_S

WAIT_MAX_NS = NS_PER_S // 4  # look around at least so often, whatever was reckoned


class Waiter:
    """Waits for sockets and for the time, and turns SIGINT and SIGTERM into `stopped`.

    select() waits to the microsecond, where epoll rounds up to a millisecond; a handful of sockets cost it nothing.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._ready: list[Any] = []
        self._selector = selectors.SelectSelector()
        self._there, self._here = socket.socketpair()
        self._there.setblocking(False)
        self._here.setblocking(False)
        self._selector.register(self._here, selectors.EVENT_READ)
        self._old = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        self._old_fd = signal.set_wakeup_fd(self._there.fileno(), warn_on_full_buffer=False)

    def wake(self) -> None:
        """Make `wait` return now; may be called from any thread."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._there.send(b"\0")

    def watch(self, readable: Any) -> None:
        """Wake up when `readable` has something."""
        self._selector.register(readable, selectors.EVENT_READ)

    def unwatch(self, readable: Any) -> None:
        """Stop waking up for `readable`."""
        self._selector.unregister(readable)

    def wait(self, timeout_ns: int) -> None:
        """Wait until something arrives, a signal comes or `timeout_ns` have passed."""
        timeout_s = min(max(timeout_ns, 0), WAIT_MAX_NS) / NS_PER_S
        self._ready.clear()
        for key, _ in self._selector.select(timeout_s):
            self._ready.append(key.fileobj)
            if key.fileobj is self._here:
                with contextlib.suppress(BlockingIOError):
                    self._here.recv(4096)

    def is_ready(self, readable: Any) -> bool:
        """Say whether the last wait found something there."""
        return readable in self._ready

    def only(self, *readable: Any) -> bool:
        """Say whether the last wait found nothing anywhere else than there."""
        return all(each in readable for each in self._ready)

    def close(self) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._selector.close()
        self._there.close()
        self._here.close()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stopped = True


class StatsFile:
    """Writes one JSON object per line."""

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            try:
                self._file = path.open("w", encoding="utf-8")
            except OSError as error:
                raise UserError(f"{path}: can't write statistics there: {error.strerror}") from None

    def write(self, values: dict[str, Any]) -> None:
        """Write one line, visible at once.

        Raises UserError, once, where that fails: a run that was to be measured and was not has failed.
        """
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(values) + "\n")
            self._file.flush()
        except OSError as error:
            path = self._file.name
            self.close()
            raise UserError(f"{path}: writing the statistics failed: {error.strerror}") from None

    @property
    def wanted(self) -> bool:
        """Whether anybody reads what is written."""
        return self._file is not None

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what could not be written before, and was said
                file.close()
