"""The capturing device's driver against a PortAudio that is only pretended, in a time that is too."""

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.config import Config
from radiosync.drivers import capture_source, portaudio, sources
from radiosync.drivers.capture_source import RING_S, STANDING_NS, STUCK_NS, CaptureSource, is_capture
from radiosync.drivers.portaudio import Direction
from radiosync.drivers.sources import open_source
from radiosync.errors import DeviceError, SourceError
from radiosync.ui.device_lines import device_lines
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs

BLOCK = 480
UNKNOWN_CLOCK_S = 98_765.0  # what PortAudio's times are ahead of the local clock


class PortAudioError(Exception):
    pass


class FakeStream:
    """A card that captures a ramp: frame n is n * 1e-5, so that what is missing is seen."""

    latency = 0.04

    def __init__(self, portaudio: "FakePortAudio", settings: dict[str, Any]) -> None:
        self.portaudio, self.settings = portaudio, settings
        self.active = False
        self.frame = 0

    def start(self) -> None:
        self.active = True
        self.portaudio.open_streams += 1

    def abort(self, ignore_errors: bool = True) -> None:
        self.active = False

    def close(self, ignore_errors: bool = True) -> None:
        self.portaudio.open_streams -= 1

    def capture(self, blocks: int = 1, status: Any = None) -> None:
        """Let time pass, and hand over what came meanwhile."""
        rate = self.settings["samplerate"] * (1 + self.portaudio.ppm * 1e-6)
        for _ in range(blocks):
            began_ns = self.portaudio.now
            self.portaudio.now += round(BLOCK / rate * NS_PER_S)
            ramp = (np.arange(self.frame, self.frame + BLOCK) * 1e-5 % 0.5).astype(np.float32)
            self.frame += BLOCK
            block = np.repeat(ramp[:, None], self.settings["channels"], axis=1)
            now_s = self.portaudio.now / NS_PER_S + UNKNOWN_CLOCK_S
            times = SimpleNamespace(inputBufferAdcTime=began_ns / NS_PER_S + UNKNOWN_CLOCK_S, currentTime=now_s)
            self.settings["callback"](block, BLOCK, times, status)


class FakePortAudio:
    """As much of the module `sounddevice` as the driver uses, and its time."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self.now = 1_000 * NS_PER_S
        self.ppm = 0.0
        self.rates = {44_100, 48_000}
        self.present = True
        self.restarts = 0
        self.open_streams = 0
        self.streams: list[FakeStream] = []
        self.default = SimpleNamespace(device=(2, 0))

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": "Fake"}]

    def query_devices(self) -> list[dict[str, Any]]:
        def device(name: str, inputs: int, outputs: int) -> dict[str, Any]:
            latencies = {f"default_{a}_{b}_latency": 0.01 for a in ("low", "high") for b in ("input", "output")}
            counts = {"max_input_channels": inputs, "max_output_channels": outputs}
            return {"name": name, "hostapi": 0, "default_samplerate": 48_000.0} | counts | latencies

        inputs = [device("Microphone", 1, 0), device("Line in", 18, 2)] if self.present else []
        return [device("Loudspeaker", 0, 2), *inputs]

    def check_input_settings(self, device: int, *, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in self.rates:
            raise PortAudioError("no")

    def InputStream(self, **settings: Any) -> FakeStream:
        self.streams.append(FakeStream(self, settings))
        return self.streams[-1]

    def _terminate(self) -> None:
        self.restarts += 1

    def _initialize(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    fake = FakePortAudio()
    monkeypatch.setattr(capture_source, "load_portaudio", lambda _: fake)
    monkeypatch.setattr(capture_source, "local_now", lambda: LocalNs(fake.now))
    monkeypatch.setattr(capture_source, "POLL_S", 0.0)
    monkeypatch.setattr(capture_source, "RETRY_S", (0.001, 0.002))
    return fake


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def source(fake: FakePortAudio, warnings: list[str]) -> CaptureSource:
    return CaptureSource("device", None, None, SampleFormat.F32, warnings.append)


def run(source: CaptureSource, fake: FakePortAudio, seconds: float) -> Any:
    """Capture and take, in turn; return what came."""
    out = [source.format.silence(0)]
    until = fake.now + seconds * NS_PER_S
    while fake.now < until:
        fake.streams[-1].capture()
        out.append(source._take(LocalNs(fake.now)))
    return np.concatenate(out)


@pytest.mark.parametrize(
    ("wanted", "rate", "channels", "opened"),
    [
        ("device", None, None, (2, 48_000, 2)),
        ("device:1", None, None, (1, 48_000, 1)),
        ("device:micro", 44_100, 2, (1, 44_100, 1)),
        ("device:Line in", 96_000, 4, (2, 48_000, 4)),
    ],
)
def test_how_it_is_opened(
    fake: FakePortAudio, wanted: str, rate: int | None, channels: int | None, opened: tuple[int, int, int]
) -> None:
    source = CaptureSource(wanted, rate, channels, SampleFormat.S16, print)
    settings = fake.streams[0].settings
    assert (settings["device"], settings["samplerate"], settings["channels"]) == opened
    assert source.format == AudioFormat(rate or 48_000, channels or opened[2], SampleFormat.S16)
    out = run(source, fake, 1.0)
    assert out.shape[1] == source.format.channels
    assert len(out) == pytest.approx(source.format.rate, rel=0.1), "in the stream's rate whatever the device's is"
    assert np.abs(out[:, 0].astype(int) - out[:, -1]).max() <= 3, "every channel has it, each with a dither of its own"


def test_what_is_captured_is_heard_in_order_and_soon(source: CaptureSource, fake: FakePortAudio) -> None:
    out = run(source, fake, 0.2)
    whole = np.arange(len(out)) * 1e-5
    assert np.abs(out[1000:-1] - whole[1000:-1, None]).max() < 1e-3
    assert 0.2 * 48_000 - len(out) < 0.035 * 48_000, "the filters hold no more"


def test_reading_counts_frames_and_keeps_what_is_too_much(source: CaptureSource, fake: FakePortAudio) -> None:
    fake.streams[0].capture(20)
    blocks = [source.read(960)]
    while len(source._rest):
        blocks.append(source.read(960))
    assert all(block is not None and 0 < len(block.samples) <= 960 for block in blocks)
    assert [b.song_frame for b in blocks if b] == list(np.cumsum([0, *(len(b.samples) for b in blocks if b)])[:-1])
    assert blocks[0] is not None
    assert blocks[0].song.title == "Line in"


def test_a_crystal_that_is_off_is_made_up_for(source: CaptureSource, fake: FakePortAudio) -> None:
    fake.ppm = 200.0
    run(source, fake, 10)
    began = fake.now
    held = source._matcher.frames_held
    frames = len(run(source, fake, 60)) + source._matcher.frames_held - held
    assert frames == pytest.approx((fake.now - began) / NS_PER_S * 48_000, abs=3), "and not 576 too many"
    assert source.stats()["source_rate_ppm"] == pytest.approx(200, abs=0.5)
    assert source.stats()["source_clock"] == "unknown"
    assert source.stats()["source_stamps"] == "device"


def test_what_does_not_fit_is_counted_and_the_delay_does_not_grow(source: CaptureSource, fake: FakePortAudio) -> None:
    run(source, fake, 1)
    fake.streams[0].capture(RING_S * 100 + 50)  # nobody reads for half a second more than there is room
    assert source.stats()["source_overflow_frames"] == pytest.approx(24_000, abs=BLOCK)
    source._take(LocalNs(fake.now))
    stale = source.stats()["source_stale_frames"]
    assert stale > (RING_S - 0.1) * 48_000, "what is old is thrown away"
    out = run(source, fake, 1)
    assert len(out) == pytest.approx(48_000, rel=0.05)
    assert source._ring.readable() == 0
    assert source.stats()["source_stale_frames"] == stale
    assert source.stats()["source_anchored"] > 1
    assert abs(source.stats()["source_error_ns"]) < NS_PER_MS


def test_a_short_stall_costs_nothing(source: CaptureSource, fake: FakePortAudio) -> None:
    run(source, fake, 1)
    fake.streams[0].capture(50)
    out = source._take(LocalNs(fake.now))
    assert len(out) == pytest.approx(24_000, abs=1_500)
    assert source.stats()["source_stale_frames"] == 0


def test_what_stands_in_the_ring_is_thrown_away(
    source: CaptureSource, fake: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the session has left a hole for a stall, and then what was late comes after all."""
    run(source, fake, 1)
    fake.streams[0].capture(30)
    held = source._ring.readable()
    skipped = []
    for _ in range(STANDING_NS // (10 * NS_PER_MS) + 2):
        fake.streams[0].capture()
        skipped.append(source.stats()["source_stale_frames"])
        source._skip_what_stands(LocalNs(fake.now))
        if not source.stats()["source_stale_frames"]:
            source._ring.read_into(np.empty((BLOCK, 2), np.float32))  # only as fast as it comes
    assert source.stats()["source_stale_frames"] >= held - 2 * BLOCK
    assert 30 + skipped.count(0) >= STANDING_NS // (10 * NS_PER_MS)


def test_an_overrun_of_the_device_begins_a_new_line(source: CaptureSource, fake: FakePortAudio) -> None:
    run(source, fake, 2)
    fake.now += 50 * NS_PER_MS
    fake.streams[0].capture(status="input overflow")
    run(source, fake, 2)
    assert source.stats()["source_xruns"] == 1
    assert source.stats()["source_anchored"] == 2
    assert source._matcher.clock.counters.discontinuities == 0, "nothing had to be guessed from the stamps"


def test_a_device_that_vanishes_is_opened_again(
    source: CaptureSource, fake: FakePortAudio, warnings: list[str]
) -> None:
    fake.ppm = 100.0
    before = len(run(source, fake, 20))
    fake.present = False
    fake.streams[0].active = False
    source._take(LocalNs(fake.now))
    assert fake.open_streams == 0
    for _ in range(3):
        source._try_again()
    assert fake.open_streams == 0
    assert len(warnings) == 4
    assert warnings[0].startswith("device: nothing has come from it")
    assert "0.001 s" in warnings[0]
    assert "0.002 s" in warnings[-1], "the pauses grow"
    fake.present = True
    source._try_again()
    assert (fake.open_streams, source.stats()["source_reopened"]) == (1, 1)
    assert source.stats()["source_rate_ppm"] == pytest.approx(100, abs=1), "what was learned is not forgotten"
    assert before
    assert len(run(source, fake, 1)) == pytest.approx(48_000, rel=0.05)
    fake.streams[-1].active = False
    source._take(LocalNs(fake.now))
    assert "0.001 s" in warnings[-1], "it had worked: the pauses begin anew"


def test_a_device_that_no_longer_calls_is_given_up(
    source: CaptureSource, fake: FakePortAudio, warnings: list[str]
) -> None:
    run(source, fake, 1)
    for _ in range(STUCK_NS // (100 * NS_PER_MS) + 2):
        fake.now += 100 * NS_PER_MS
        if source._stream is not None:
            source._take(LocalNs(fake.now))
    assert source._stream is None
    assert "for 2 s" in warnings[0]


def test_a_process_that_stood_still_keeps_its_device(
    source: CaptureSource, fake: FakePortAudio, warnings: list[str]
) -> None:
    run(source, fake, 1)
    fake.now += 10 * NS_PER_S
    run(source, fake, 1)
    assert not warnings


def test_a_read_that_waits_comes_back_when_told(source: CaptureSource) -> None:
    threading.Timer(0.1, source.interrupt).start()
    assert source.read(960) is None
    source.close()


@pytest.mark.parametrize(("sample", "dithered"), [(SampleFormat.S16, True), (SampleFormat.S24, False)])
def test_sixteen_bits_are_dithered(fake: FakePortAudio, sample: SampleFormat, dithered: bool) -> None:
    source = CaptureSource("device", None, None, sample, print)
    step = 1.0 if sample is SampleFormat.S16 else 256.0
    source._ring.write(np.zeros((4_800, 2), np.float32))
    out = source._take(LocalNs(fake.now)) / step
    assert bool(np.any(out)) == dithered
    assert np.abs(out).max() <= 1


def test_a_device_that_is_not_there_is_one_line_with_the_inputs_there_are(fake: FakePortAudio) -> None:
    with pytest.raises(DeviceError, match=r"input Gramophone: there is none.*1: Microphone, 2: Line in$"):
        CaptureSource("device:Gramophone", None, None, SampleFormat.S16, print)
    with pytest.raises(DeviceError, match="input Loudspeaker: there is none"):
        CaptureSource("device:Loudspeaker", None, None, SampleFormat.S16, print)
    fake.present = False
    with pytest.raises(DeviceError, match="can capture was found"):
        CaptureSource("device", None, None, SampleFormat.S16, print)


def test_portaudio_that_is_missing_is_one_line_with_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real(name, *args, **options)

    real = __import__
    monkeypatch.setattr("builtins.__import__", refuse)
    with pytest.raises(DeviceError, match=r"libportaudio2.*exec:arecord"):
        portaudio.load_portaudio(Direction.INPUT)


def test_it_is_opened_by_its_name_among_the_sources(fake: FakePortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = []
    monkeypatch.setattr(sources, "raise_priority", lambda: raised.append(len(fake.streams)))
    source = open_source(["device:Line in"], Config(), "s24", print)
    assert source.live
    assert raised == [0], "before PortAudio starts a thread, which inherits it"
    assert source.format == AudioFormat(48_000, 2, SampleFormat.S24)
    with pytest.raises(SourceError, match=r"mp3.*s16, s24"):
        open_source(["device"], Config(), "mp3", print)
    with pytest.raises(SourceError, match="name it alone"):
        open_source(["device", "a.flac"], Config(), "s16", print)


@pytest.mark.parametrize(
    ("source", "capture"), [("device", True), ("device:", True), ("device:2", True), ("devices", False), ("-", False)]
)
def test_what_is_a_capturing_device(source: str, capture: bool) -> None:
    assert is_capture(source) == capture


def test_both_directions_are_listed(fake: FakePortAudio) -> None:
    outputs, inputs = (
        device_lines(portaudio.list_devices(fake, way), way) for way in (Direction.OUTPUT, Direction.INPUT)
    )
    assert "--output" in outputs[0]
    assert "Loudspeaker" in outputs[2]
    assert len(outputs) == 4
    assert "--source" in inputs[0]
    assert "Microphone" in inputs[2]
    assert "Line in" in inputs[3]
    assert inputs[3].startswith("*"), "the default is marked"
    fake.present = False
    assert device_lines(portaudio.list_devices(fake, Direction.INPUT), Direction.INPUT) == [
        "no sound device that can capture was found"
    ]
