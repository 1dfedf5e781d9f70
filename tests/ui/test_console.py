"""What is said on the terminal."""

import io
import os
import subprocess
import sys

import pytest

from radiosync.host import events as host
from radiosync.listener.events import MuteChanged
from radiosync.ui import console
from radiosync.ui.host_lines import host_line
from radiosync.ui.listener_lines import listener_line


class Writes(io.StringIO):
    """A terminal that remembers each write on its own."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def test_a_line_is_one_write_so_that_threads_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Writes()
    monkeypatch.setattr(sys, "stderr", terminal)
    console.say("one")
    console.warn("two")
    assert terminal.writes == ["one\n", "warning: two\n"]


def test_a_terminal_takes_no_orders_from_names(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Writes()
    monkeypatch.setattr(sys, "stderr", terminal)
    console.say("♪ Tune\n\x1b[2J\udcff – é")
    assert terminal.writes == ["♪ Tune\\n\\x1b[2J\\udcff – é\n"]


def test_a_terminal_that_is_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    broken = os.fdopen(writer, "w")
    for terminal in (None, broken):
        monkeypatch.setattr(sys, "stderr", terminal)
        console.say("nobody reads this")
    with pytest.raises(BrokenPipeError):
        broken.close()


@pytest.mark.parametrize("closed", [False, True])
def test_what_libraries_print_is_kept_from_standard_error(closed: bool) -> None:
    script = (
        "import os, sys; from radiosync.ui import console\n"
        f"if {closed}: os.close(2); sys.stderr = None\n"
        "console.keep_stderr()\n"
        "if not sys.stderr: sys.exit()\n"
        "os.write(2, b'libmpg123: junk\\n')\n"
        "console.say('ours – and nobody else’s')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    assert done.stderr.decode() == ("" if closed else "ours – and nobody else’s\n")


def test_who_blocks_and_why_is_said() -> None:
    said = [
        host_line(event)
        for event in (
            host.ListenerMuted(name="kitchen", muted=True),
            host.GroupPaused(names=("kitchen", "cellar"), seconds=10.0),
            host.GroupResumed(left_behind=("cellar",)),
            host.ProbationBegan(name="cellar", seconds=300.0),
            host.ListenerOutOfSync(name="attic", out_of_sync=True, error_ns=-4_200_000),
            host.ResyncOrdered(reason="attic and den are 6.0 ms apart"),
        )
    ]
    assert said == [
        "  kitchen has run dry and is muted",
        "  everybody pauses, up to 10 s, for who runs dry: kitchen, cellar",
        "  everybody goes on without cellar",
        "  cellar has run dry again: nobody pauses for it for 5 min",
        "  attic is out of sync by -4.2 ms",
        "  everybody resyncs: attic and den are 6.0 ms apart",
    ]
    assert "muted" in listener_line(MuteChanged(muted=True))
