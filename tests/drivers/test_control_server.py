"""The answers by HTTP say all that there is to say."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.config import Config
from radiosync.drivers.control_server import ListenerStatus, make_app
from radiosync.drivers.controls import listener_values
from radiosync.host.session import HostSession
from radiosync.units import HostNs
from radiosync.wire.codec import decode, encode
from radiosync.wire.messages import Solicit

NOW = HostNs(1_795_000_000_000_000_000)
ANNA = ("10.0.0.1", 5000)
GOLDEN = bytes.fromhex((Path(__file__).parents[1] / "wire" / "golden" / "report.hex").read_text(encoding="ascii"))


def test_all_that_is_known_of_a_listener_is_in_the_answer() -> None:
    session = HostSession(
        Config(),
        AudioFormat(48_000, 2, SampleFormat.S16),
        rng=Random(1),
        now=NOW,
        control_port=2,
        clock_port=3,
        name="den",
    )
    session.receive_datagram(encode(Solicit(session=0, nonce=7)), ANNA, NOW)
    report = replace(decode(GOLDEN), session=session.session, cookie=session.reception.cookies.of(ANNA))
    session.receive_datagram(encode(report), ANNA, NOW)
    (row,) = session.listeners
    values = listener_values(session, row, NOW)
    assert set(values) == set(ListenerStatus.model_fields)
    assert ListenerStatus(**values).tier == 2


async def posted(app: Any, body: bytes) -> tuple[int, bytes]:
    """Return the status and the body of the answer to an order."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/command",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


class Refusing:
    """Takes no order."""

    def post(self, command: object, seconds: float = 0.0) -> None:
        raise AssertionError((command, seconds))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"command": "dance"}',
        b'{"command": "seek", "seconds": -1}',
        b'{"command": "seek", "seconds": NaN}',
        b'{"command": "seek", "seconds": 1e999}',
        b'{"command": "seek", "seconds": ' + 5000 * b"1" + b"}",
        b'{"command": "\\ud800"}',
    ],
)
def test_what_is_no_order_is_refused_whatever_it_is(body: bytes) -> None:
    status, answer = asyncio.run(posted(make_app(Refusing(), ["localhost"]), body))  # type: ignore[arg-type]
    assert status in (400, 422)
    assert json.loads(answer)["detail"]
