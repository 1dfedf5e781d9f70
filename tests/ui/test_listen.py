"""The quick way into `listen`: it reads what typer would read, and leaves the rest to it."""

import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer

from radiosync import cli
from radiosync.ui.listen import option_kinds, read_plainly

LISTEN = typer.main.get_command(cli.app).commands["listen"]  # type: ignore[attr-defined]

PLAIN = {
    "--group": ("239.1.2.3", "239.1.2.3"),
    "--port": ("45000", 45000),
    "--interface": ("eth0", "eth0"),
    "--host": ("den", "den"),
    "--output": ("device:Big = loud", "device:Big = loud"),
    "--name": ("küche -1", "küche -1"),
    "--offset-ms": ("-12.5", -12.5),
    "--volume": ("80", 80.0),
    "--record": ("a b.wav", Path("a b.wav")),
    "--config": ("c.toml", Path("c.toml")),
    "--stats-json": ("s.jsonl", Path("s.jsonl")),
    "--duration": ("3.", 3.0),
}


def by_typer(words: list[str]) -> dict[str, object]:
    given = LISTEN.make_context("listen", list(words)).params
    return {name: value for name, value in given.items() if value is not None}


def test_the_options_are_typer_s() -> None:
    assert set(option_kinds()) == {param.opts[0] for param in LISTEN.params}
    hints = {name: get_args(hint) for name, hint in get_type_hints(cli.listen).items()}  # (type, NoneType)
    assert option_kinds() == {f"--{name.replace('_', '-')}": kinds[0] for name, kinds in hints.items() if kinds}
    assert set(option_kinds()) == set(PLAIN), "say here what is plain for a new option"


@pytest.mark.parametrize("option", PLAIN)
@pytest.mark.parametrize("joined", [False, True])
def test_plain_words_are_read_as_typer_reads_them(option: str, joined: bool) -> None:
    word, value = PLAIN[option]
    words = [f"{option}={word}"] if joined else [option, word]
    assert read_plainly(words) == by_typer(words) == {option[2:].replace("-", "_"): value}


def test_of_two_the_last_counts() -> None:
    words = ["--name", "a", "--port=1", "--name=b"]
    assert read_plainly(words) == by_typer(words) == {"name": "b", "port": 1}
    assert read_plainly([]) == {}


@pytest.mark.parametrize(
    "words",
    [
        *(["--help"], ["--nosuch", "1"], ["--port"], ["--port", "many"], ["--port="], ["--name", "--port", "5"]),
        *(["den"], ["--offset_ms", "5"], ["--volume", "nan"], ["--volume", "1e3"], ["--port", "1_0"], ["--", "x"]),
        *(["--por", "5"], ["-p", "5"], ["--duration", "٣"]),
    ],
)
def test_what_is_not_plain_is_left_to_typer(words: list[str]) -> None:
    assert read_plainly(words) is None


def test_a_listener_waits_for_no_typer_and_for_nothing_of_a_host() -> None:
    code = (
        "import sys; sys.argv = ['radiosync', 'listen', '--interface', 'lo', '--output', 'wav:/nonexistent/a.wav']\n"
        "from radiosync.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as stopped:\n"
        "    slow = ('typer', 'pydantic', 'click', 'numpy.random', 'tomllib', 'fastapi', 'radiosync.host')\n"
        "    print(stopped.code, 'numpy' in sys.modules, [name for name in slow if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["2 True []"], done.stderr
    assert done.stderr.startswith("radiosync: ")
