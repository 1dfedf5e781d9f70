"""Whatever reads bytes that somebody else wrote, each as a function of bytes that raises where it finds a fault.

`tools/fuzz.py` drives them, and tests/tools/test_fuzz.py replays the corpus.  A target lets pass what a part says of
bad input: RemoteProtocolError of the network's, a UserError of a person's.  Anything else is a fault, and so is a
promise that does not hold: an error of two lines, a datagram too long, a buffer beyond its capacity.

The two sessions are given a conversation: records of a first byte (5 bits: what; 1 bit: from whom; 2 bits: how much
time passes before), a second one (the length of the body) and the body.  What only an honest partner knows is put in:
session, cookie, nonce, CRC.  So nearly every input gets past the guards, and the fuzzer need not guess 64 bits.
"""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.song import Song
from radiosync.clock.dac import DacClock
from radiosync.config import Config
from radiosync.drivers.calibration import read_calibration
from radiosync.drivers.control_server import make_app
from radiosync.drivers.memory_file import MemoryFile
from radiosync.drivers.playlist import expand_sources
from radiosync.drivers.song_file import SongFile
from radiosync.errors import RemoteProtocolError, UserError
from radiosync.host.listeners import LISTENERS_MAX
from radiosync.host.packetizer import CodedAudio
from radiosync.host.session import HostSession
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.memory import KnownRate
from radiosync.listener.playout import DeviceFormat, DevicePlayout
from radiosync.listener.session import ListenerSession
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, DacFrame, HostNs, LocalNs, MediaFrame
from radiosync.wire import ntp
from radiosync.wire.codec import DATAGRAM_MAX, SOLICIT_BYTES, decode, encode
from radiosync.wire.fields import pack_head, sealed
from radiosync.wire.messages import Announce, Audio, ChunkHeader, Kind, Solicit

MONO = AudioFormat(8_000, 1, SampleFormat.S16)
NOW = 1_795_000_000_123_456_789  # where the golden datagrams are
HOST = ("10.0.0.1", 45_451)
LISTENERS = (("10.0.0.2", 5_000), ("10.0.0.3", 5_000))
STEPS_NS = (0, 20 * NS_PER_MS, NS_PER_S, 40 * NS_PER_S)
RECORDS_MAX = 40  # of a conversation: what is longer says the same more slowly
CHUNK_FRAMES = 800
OWN_KINDS = {Kind.NACK, Kind.REPORT, Kind.LEAVE}  # what begins with a cookie
CLOCK, HONEST_CLOCK, HONEST_AUDIO = 0, 7, 8  # records for the listener that are no message of the host's
READS_MAX = 200  # of a sound file: the decoder allocates by the read


def wire(data: bytes) -> None:
    """Decode a datagram; what can be decoded is encoded to what means the same."""
    for raw in (data, sealed(data.ljust(8, b"\0"))):
        with contextlib.suppress(RemoteProtocolError):
            message = decode(raw)
            assert decode(encode(message)) == message


def clock(data: bytes) -> None:
    """Answer a question about the time."""
    with contextlib.suppress(RemoteProtocolError):
        reply = ntp.respond(data, received_at=HostNs(NOW), sent_at=HostNs(NOW + 1))
        assert len(reply) <= len(data)
        assert ntp.decode(ntp.stamp_departure(reply, HostNs(NOW + 2))).mode == ntp.MODE_SERVER


def records(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield of each record of a conversation: what, from whom, after how long, the body."""
    position = 0
    for _ in range(RECORDS_MAX):
        if position + 2 > len(data):
            return
        first, length = data[position], data[position + 1]
        yield first & 31, first >> 5 & 1, STEPS_NS[first >> 6], data[position + 2 : position + 2 + length]
        position += 2 + length


def host(data: bytes) -> None:
    """Let two listeners that have proved their addresses say anything to a host that plays."""
    session, now, heard_bytes, fed = _a_host(), HostNs(NOW), dict.fromkeys(LISTENERS, 0.0), 0
    cookies = {address: _cookie(session, address, now) for address in LISTENERS}
    for kind, who, step_ns, body in records(data):
        now, source = HostNs(now + step_ns), LISTENERS[who]
        datagram = pack_head(kind, session.session)  # type: ignore[arg-type]  # any number
        if kind in OWN_KINDS:
            datagram += cookies[source].to_bytes(8, "big")
        datagram = sealed((datagram + body).ljust(SOLICIT_BYTES if kind == Kind.SOLICIT else 0, b"\0"))
        heard_bytes[source] += len(datagram)
        session.receive_datagram(datagram, source, now)
        for _ in range(RECORDS_MAX):
            if not session.audio_wanted(now):
                break
            song = Song(song_id=1, title="tune")
            samples = bytes(2 * CHUNK_FRAMES)
            session.add_audio(
                CodedAudio(song=song, song_frame=fed, frames=CHUNK_FRAMES, codec=Codec.PCM, data=samples), now
            )
            fed += CHUNK_FRAMES
        session.handle_timeout(now)
        known = {row.address for row in session.listeners}
        for sent in session.datagrams_to_send(now):
            assert len(sent.data) <= DATAGRAM_MAX
            decode(sent.data)
            if sent.to in heard_bytes and sent.to not in known and kind == Kind.SOLICIT:
                heard_bytes[sent.to] -= len(sent.data) / 3
                assert heard_bytes[sent.to] >= 0, "more than three times what came from there"
        assert isinstance(session.next_timeout(now), int)
        assert len(session.listeners) <= LISTENERS_MAX
        while session.next_event() is not None:
            pass


def _a_host() -> HostSession:
    config = Config.load(None, {"radio_sync.buffer_duration": 2.0, "host.start_lead": 0.5})
    return HostSession(
        config, MONO, rng=Random(1), now=HostNs(NOW), control_port=HOST[1], clock_port=HOST[1] + 1, name="den"
    )


def _cookie(session: HostSession, address: tuple[str, int], now: HostNs) -> int:
    """Return the cookie that a host gives who asks at `address`."""
    session.receive_datagram(encode(Solicit(session=0, nonce=1)), address, now)
    answers = (decode(sent.data) for sent in list(session.datagrams_to_send(now)) if sent.to == address)
    return next(answer.cookie for answer in answers if isinstance(answer, Announce))


def listener(data: bytes) -> None:
    """Let the host that a listener has found say anything; the first byte says whether there is a sound device."""
    now = LocalNs(NS_PER_S)
    session = ListenerSession(Config(), rng=Random(1), now=now, name="kitchen")
    session.handle_timeout(now)
    question = decode(next(iter(session.datagrams_to_send())).data)
    assert isinstance(question, Solicit)
    session.receive_datagram(encode(_announce(question.nonce)), HOST, now)
    stream = session.stream
    assert stream is not None
    dac, device_frame = DacClock(48_000), 0
    if data[:1] >= b"\x80":
        device = DeviceFormat(rate=48_000, channels=2)
        stream.attach(DevicePlayout(stream.buffer, stream.schedule, dac, device, resync_ns=5 * NS_PER_MS, gain=1.0))
    else:
        stream.attach(ExactPlayout(stream.buffer, stream.schedule))
    for kind, _, step_ns, body in records(data[1:]):
        now = LocalNs(now + step_ns)
        questions = session.clock_requests(now)
        for request in questions:
            session.note_clock_sent(request, now)
        if kind in (CLOCK, HONEST_CLOCK):
            for request in questions:
                session.receive_clock(_reply(kind, request, body, now), now)
        elif kind == HONEST_AUDIO:
            session.receive_datagram(encode(_symbol(body[:1])), HOST, now)
        else:
            head = pack_head(kind, stream.session)  # type: ignore[arg-type]  # any number
            session.receive_datagram(sealed(head + body), HOST, now)
        session.handle_timeout(now)
        assert isinstance(session.next_timeout(now), int)
        for sent in session.datagrams_to_send():
            assert len(sent.data) <= DATAGRAM_MAX
            decode(sent.data)
        while session.next_event() is not None:
            pass
        assert len(stream.buffer) <= stream.buffer.chunks_max
        playout = stream.playout
        if isinstance(playout, ExactPlayout):
            for _ in range(5):
                playout.take(now)
        elif playout is not None:
            for _ in range(2):
                heard_at = LocalNs(NS_PER_S + device_frame * NS_PER_S // 48_000 + 200 * NS_PER_MS)
                dac.stamp(DacFrame(device_frame), heard_at, LocalNs(heard_at - 100 * NS_PER_MS), 100 * NS_PER_MS)
                block = playout.render(DacFrame(device_frame), 960)
                assert block.shape == (960, 2)
                assert np.isfinite(block).all()
                device_frame += 960


def _announce(nonce: int) -> Announce:
    return Announce(
        session=7, timeline=_timeline(), sent_at=HostNs(NOW), format=MONO, control_port=HOST[1],
        clock_port=HOST[1] + 1, chunk_frames=CHUNK_FRAMES, play_seq=0, play_frame=MediaFrame(0), next_seq=5,
        final_frame=None, buffer_ms=2_000, buffered_ms=0, song_id=1, nonce=nonce, cookie=9,
    )  # fmt: skip


def _timeline() -> Timeline:
    return Timeline(
        version=1, epoch=1, state=PlayState.PLAYING, media_frame=MediaFrame(0), effective_at=HostNs(NOW + NS_PER_S)
    )


def _reply(kind: int, request: bytes, body: bytes, now: LocalNs) -> bytes:
    """Return an answer of the host's clock: the true one, or `body` with the right nonce."""
    at = HostNs(NOW - NS_PER_S + now)
    honest = ntp.respond(request, received_at=at, sent_at=at)
    if kind == HONEST_CLOCK:
        return honest
    forged = body + honest[len(body) :]
    return forged[:24] + honest[24:32] + forged[32:]


def _symbol(seq: bytes) -> Audio:
    """Return chunk `seq`, which is one symbol of whole music."""
    number = int.from_bytes(seq, "big")
    payload = np.arange(1, 401, dtype="<i2").tobytes()
    chunk = ChunkHeader(
        seq=number, epoch=1, first_frame=MediaFrame(number * 400), frames=400, play_at=HostNs(NOW), song_id=1,
        song_frame=number * 400, buffer_position_ms=0, stamped_at=HostNs(NOW), codec=Codec.PCM,
        coded_bytes=len(payload), symbol_bytes=len(payload), symbols=1,
    )  # fmt: skip
    return Audio(session=7, timeline=_timeline(), chunk=chunk, index=0, repair=False, payload=payload)


def chunk(data: bytes) -> None:
    """Decode a chunk: two bytes say codec, sample format and channels, two how many frames."""
    if len(data) < 4:
        return
    audio = AudioFormat(44_100 if data[0] & 128 else 48_000, 1 + (data[1] & 7), SampleFormat(1 + (data[1] >> 6)))
    frames = int.from_bytes(data[2:4], "big")
    with contextlib.suppress(RemoteProtocolError):
        decoded = ChunkCodec().decode_with_overlap(Codec(1 + data[0] % 3), data[4:], audio, frames)
        assert decoded.samples.shape == (frames, audio.channels)
        assert decoded.samples.dtype == audio.sample.dtype


def _silent(warning: str) -> None:
    assert warning


def _one_line(error: UserError) -> None:
    assert "\n" not in str(error)
    assert str(error)


def _playlist(name: str) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        with _file(name, data) as path:
            (path.parent / "a.wav").touch()
            try:
                for entry in expand_sources([str(path)], _silent):
                    assert entry.path.is_file()
            except UserError as error:
                _one_line(error)

    return target


def config(data: bytes) -> None:
    """Read a configuration."""
    with _file("radiosync.toml", data) as path:
        try:
            Config.load(path)
        except UserError as error:
            _one_line(error)


def state(data: bytes) -> None:
    """Read what a listener remembers, and write it anew."""
    with _file("state.json", data) as path:
        memory = MemoryFile(path, _silent)
        for name in ("a", "b"):
            for known in (memory.host_skew(name), memory.device_rate(name)):
                assert known is None or abs(known.rate) < 1e-3
            memory.offset_ms(name)
        memory.note_host("c", KnownRate(rate=1e-5, sigma=1e-7))
        memory.save()
        assert MemoryFile(path, _silent).host_skew("c") is not None


def plan(data: bytes) -> None:
    """Read the plan of a calibration."""
    with _file("calibration.json", data) as path:
        try:
            read_calibration(path)
        except UserError as error:
            _one_line(error)


def sound(data: bytes) -> None:
    """Read a sound file from front to back, jump back, read on."""
    with _file("song.wav", data) as path:
        try:
            song = SongFile(path)
        except UserError:  # libsndfile's reasons may be longer than a line
            return
        try:
            song.tags  # noqa: B018  # a property that reads
            for _ in range(READS_MAX):
                if not len(song.read()):
                    break
            song.seek(1)
            song.read()
        finally:
            song.close()


class _Answering:
    """Takes every order."""

    def post(self, command: object, seconds: float = 0.0) -> None:
        assert command is not None
        assert 0 <= seconds < 1e6
        raise TimeoutError  # as a host that is too busy


def order(data: bytes) -> None:
    """Post an order to the host by HTTP."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/api/command", "query_string": b""}
    if not _app:
        _app.append(make_app(_Answering(), ["localhost"]))  # type: ignore[arg-type]
    asyncio.run(_app[0](scope | {"headers": headers}, receive, send))
    assert sent[0]["status"] in (400, 422, 503)
    assert json.loads(b"".join(message.get("body", b"") for message in sent))["detail"]


_app: list[Any] = []  # made once: that takes longer than a thousand orders


@contextlib.contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


TARGETS: dict[str, Callable[[bytes], None]] = {
    "wire": wire,
    "clock": clock,
    "host": host,
    "listener": listener,
    "chunk": chunk,
    "m3u": _playlist("list.m3u"),
    "pls": _playlist("list.pls"),
    "config": config,
    "state": state,
    "plan": plan,
    "sound": sound,
    "order": order,
}
