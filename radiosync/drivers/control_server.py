"""The host's control interface: JSON over HTTP, described by OpenAPI at /openapi.json.

It listens on the loopback address unless told otherwise.  A page from elsewhere in a browser on the same machine can't
use it: orders must be JSON, which a browser asks leave for first, and the request must name this very host.
"""

import asyncio
import queue
import socket
import threading
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from radiosync import __version__
from radiosync.drivers.controls import Controls
from radiosync.host.commands import Command

STOP_POLL_S = 0.25
ANSWER_S = 2.0  # the loop turns many times a second; a host that does not is in trouble


class Order(BaseModel):
    """What the host should do."""

    command: Command
    seconds: Annotated[float, Field(ge=0, le=86_400 * 7, description="the position in the song, for seek")] = 0.0


class SongStatus(BaseModel):
    """The song that is heard."""

    title: str
    artist: str
    album: str
    position_s: float
    duration_s: float | None


class ListenerStatus(BaseModel):
    """One listener, as it reports of itself."""

    name: str
    address: str
    status: str
    state: str
    tier: Annotated[int, Field(description="the quality it listens to; 0 is lossless")]
    copied: Annotated[bool, Field(description="whether it gets a copy by unicast, since multicast does not reach it")]
    latency_ms: float
    latency_samples_ms: list[float]
    down_ms: float
    up_ms: float
    echo_ms: float
    sync_error_ns: int
    out_of_sync: bool
    probation_s: Annotated[float, Field(description="how long nobody pauses for it, since it has run dry too often")]
    rate_ppm: float
    buffer_s: float
    jitter_ms: float
    symbols_lost: int
    symbols_repaired: int
    chunks_concealed: int
    underruns: int
    hard_resyncs: int
    last_heard_s: float


class Status(BaseModel):
    """What plays, for whom, and what is to come; after an order, whether it changed anything, or why it is refused."""

    state: str
    song: SongStatus | None
    buffered_s: float
    buffer_target_s: float
    buffer_reason: str
    waiting_for: Annotated[list[str], Field(description="whom everybody pauses for, by radio_sync.underrun_policy")]
    waiting_s: Annotated[float | None, Field(description="when music is to be heard again at the latest")]
    queue: list[str]
    current: int | None
    listeners: list[ListenerStatus]
    changed: bool
    refusal: str | None


def make_app(controls: Controls, hosts: list[str]) -> FastAPI:
    """Return the application; `hosts` are the names it answers to."""
    app = FastAPI(title="radiosync", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    async def ask(command: Command | None, seconds: float = 0.0) -> dict[str, Any]:
        try:
            answer = controls.post(command, seconds)
            return await asyncio.wait_for(asyncio.wrap_future(answer), ANSWER_S)
        except queue.Full:
            raise HTTPException(503, "too many orders are waiting") from None
        except TimeoutError:
            raise HTTPException(503, "the host is too busy to answer") from None

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        # Without what was given, which may hold what JSON can't: NaN, or half of a surrogate pair.
        detail = [{name: each[name] for name in ("type", "loc", "msg")} for each in error.errors()]
        return JSONResponse({"detail": detail}, 422)

    @app.get("/api/status", response_model=Status)
    async def status() -> dict[str, Any]:
        """Tell what plays, for whom, and what is to come."""
        return await ask(None)

    @app.post("/api/command", response_model=Status)
    async def command(order: Order) -> dict[str, Any]:
        """Carry out an order and tell the status after it."""
        return await ask(order.command, order.seconds)

    return app


def serve(controls: Controls, bound: socket.socket, hosts: list[str], stop: threading.Event) -> None:
    """Serve on a bound socket until `stop` is set."""
    config = uvicorn.Config(
        make_app(controls, hosts), log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)

    async def watch() -> None:
        while not stop.is_set():
            await asyncio.sleep(STOP_POLL_S)
        server.should_exit = True

    async def main() -> None:
        watching = asyncio.create_task(watch())
        await server._serve(sockets=[bound])  # serve() would take the signals, which belong to the host's loop
        watching.cancel()

    asyncio.run(main())
