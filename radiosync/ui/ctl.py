"""`radiosync ctl`: orders for a running host, and what it answers."""

import json
import urllib.error
import urllib.request
from typing import Any

from radiosync.audio.tiers import tier_name
from radiosync.config import NetworkConfig
from radiosync.errors import NetworkError, UserError
from radiosync.ui.console import song_line

ANSWER_S = 5.0  # the host answers within two or says that it can't
ORDERS = ("play", "pause", "resume", "next", "prev", "seek", "stop", "resync")
QUESTIONS = ("queue", "status")


def run_ctl(command: str, seconds: float | None, address: str | None, *, as_json: bool) -> list[str]:
    """Carry out `command` and return the lines to print.

    Raises UserError for a command that does not exist or that the host refuses, NetworkError where no host answers.
    """
    if command not in ORDERS + QUESTIONS:
        raise UserError(f"ctl {command}: there is no such order; there are {', '.join(ORDERS + QUESTIONS)}")
    if (command == "seek") != (seconds is not None):
        raise UserError(
            f"ctl {command}: " + ("say where to: ctl seek SECONDS" if command == "seek" else "takes no number")
        )
    base = f"http://{address or f'127.0.0.1:{NetworkConfig().control_port}'}"
    if command in QUESTIONS:
        status = _ask(f"{base}/api/status", None)
    else:
        status = _ask(f"{base}/api/command", {"command": command, "seconds": seconds or 0.0})
        if status.get("refusal"):
            raise UserError(f"ctl {command}: {status['refusal']}")
    if as_json:
        return [json.dumps(status, ensure_ascii=False)]
    return _queue_lines(status) if command == "queue" else _status_lines(status)


def _ask(url: str, order: dict[str, Any] | None) -> dict[str, Any]:
    data = None if order is None else json.dumps(order).encode()
    try:
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        raise NetworkError(f"{url}: the host refuses: {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NetworkError(f"{url}: no host answers ({reason}); is one running there, on this port?") from None


def _time(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _status_lines(status: dict[str, Any]) -> list[str]:
    song = status["song"]
    lines = [status["state"]]
    if song is not None:
        duration = "" if song["duration_s"] is None else f" of {_time(song['duration_s'])}"
        tags = song_line(song["title"], song["artist"], song["album"])
        lines = [f"{status['state']}: {tags}, {_time(song['position_s'])}{duration}"]
    lines.append(f"  buffer {status['buffer_target_s']:.2g} s: {status['buffer_reason']}")
    if status["waiting_for"]:
        lines.append(f"  waiting for {', '.join(status['waiting_for'])}, up to {status['waiting_s']:.0f} s more")
    for row in status["listeners"]:
        notes = ", out of sync" if row["out_of_sync"] else ""
        if row["copied"]:
            notes += ", copied by unicast"
        if row["tier"]:
            notes += f", {tier_name(row['tier'])}"
        if row["probation_s"]:
            notes += f", not waited for during {row['probation_s']:.0f} s more"
        lines.append(
            f"  {row['name']:<16} {row['status']:<8} {row['state']:<10} latency {row['latency_ms']:.1f} ms, "
            f"sync error {row['sync_error_ns'] / 1000:+.0f} µs, {row['buffer_s']:.0f} s buffered{notes}"
        )
    return lines


def _queue_lines(status: dict[str, Any]) -> list[str]:
    return [f"{'>' if i == status['current'] else ' '} {i + 1:>3}  {name}" for i, name in enumerate(status["queue"])]
