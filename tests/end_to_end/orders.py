"""Orders to a host that runs, and what became of them in what was heard."""

import json
import time
import urllib.request
from typing import Any

import numpy as np
from numpy.typing import NDArray
from party import Party, run

Samples = NDArray[Any]


def order(party: Party, command: str, *args: str) -> dict[str, Any]:
    """Give an order by `radiosync ctl`; return the host's answer."""
    done = run("ctl", command, *args, "--host", f"127.0.0.1:{party.control_port}", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def post(party: Party, command: str) -> None:
    """Give an order by HTTP, which takes no new process."""
    address = f"http://127.0.0.1:{party.control_port}/api/command"
    data = json.dumps({"command": command}).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def ask(party: Party) -> dict[str, Any]:
    """Return the host's status."""
    with urllib.request.urlopen(f"http://127.0.0.1:{party.control_port}/api/status", timeout=10) as answer:
        return dict(json.load(answer))


def wait_for(party: Party, state: str) -> dict[str, Any]:
    """Wait until the host is in a state, and return its status."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        status = ask(party)
        if status["state"] == state:
            return status
        time.sleep(0.02)
    raise AssertionError(f"the host never was {state}: {status}")


def pieces(heard: Samples, songs: dict[str, Samples]) -> list[tuple[str, int, int]]:
    """Cut what was heard into unbroken pieces of songs: name, first frame, frames."""
    found, at = [], 0
    known = {song[i : i + 4].tobytes(): (name, i) for name, song in songs.items() for i in range(len(song) - 3)}
    while at <= len(heard) - 4:
        match = known.get(heard[at : at + 4].tobytes())
        assert match is not None, f"frame {at} of {len(heard)} is of no song"
        name, begin = match
        count = min(len(heard) - at, len(songs[name]) - begin)
        same = (heard[at : at + count] == songs[name][begin : begin + count]).all(axis=1)
        count = count if same.all() else int(np.argmin(same))
        found.append((name, begin, count))
        at += count
    return found
