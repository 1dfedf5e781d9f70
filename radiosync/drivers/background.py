"""Work that a thread does meanwhile, and whose result or error is taken later."""

import contextlib
from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """One call of `work` in a thread of its own; `wake`, if given, is called there once it is done."""

    def __init__(self, work: Callable[[], Result], wake: Callable[[], None] | None = None) -> None:
        self._work = work
        self._wake = wake
        self._results: list[Result] = []
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)  # what hangs in a driver must not keep the program
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether `result` would not wait."""
        return self._error is not None or bool(self._results)

    def result(self, timeout_s: float | None = None) -> Result:
        """Wait for the result, at most so long, and return it; raise what the work raised, or TimeoutError."""
        self._thread.join(timeout_s)
        if self._error is not None:
            raise self._error
        if not self._results:
            raise TimeoutError
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # it is raised where the result is taken
            self._error = error
        if self._wake is not None:
            with contextlib.suppress(OSError, ValueError):  # whom it should wake may have gone
                self._wake()
