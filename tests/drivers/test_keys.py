import os
import pty
import sys
import termios

import pytest

from radiosync.drivers.keys import QUIT, Keys
from radiosync.host.commands import Command


@pytest.fixture
def terminal(monkeypatch):
    master, slave = pty.openpty()
    with os.fdopen(slave, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield master
    os.close(master)


@pytest.mark.parametrize(
    ("pressed", "meant"),
    [
        (b" ", (Command.PAUSE, 0.0)),
        (b"n", (Command.NEXT, 0.0)),
        (b"p", (Command.PREV, 0.0)),
        (b"s", (Command.STOP, 0.0)),
        (b"\x1b[C", (Command.SEEK, 10.0)),
        (b"\x1b[D", (Command.SEEK, -10.0)),
        (b"q", QUIT),
        (b"x", None),
    ],
)
def test_a_key_means_an_order(terminal, pressed, meant):
    keys = Keys()
    os.write(terminal, pressed)
    assert keys.active
    assert keys.read() == meant
    keys.close()


def test_the_terminal_is_given_back_as_it_was(terminal):

    before = termios.tcgetattr(sys.stdin.fileno())
    keys = Keys()
    assert termios.tcgetattr(sys.stdin.fileno()) != before
    keys.close()
    assert termios.tcgetattr(sys.stdin.fileno()) == before


def test_without_a_terminal_there_are_no_keys(monkeypatch, tmp_path):
    (tmp_path / "in").write_bytes(b"q")
    with (tmp_path / "in").open("rb") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        keys = Keys()
        assert not keys.active
        assert keys.read() is None
        keys.close()


def test_keys_that_are_not_wanted_leave_the_terminal_alone(monkeypatch):
    monkeypatch.setattr("os.isatty", lambda descriptor: pytest.fail("it looked for a terminal"))
    assert not Keys(wanted=False).active
