"""The sound device's driver against a PortAudio that is only pretended."""

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.config import Config, ListenerConfig
from radiosync.drivers import clocks, device_sink, portaudio
from radiosync.drivers.device_sink import STUCK_NS, DeviceSink
from radiosync.drivers.output_search import FoundOutput
from radiosync.errors import DeviceError
from radiosync.listener.memory import KnownRate, NoMemory
from radiosync.units import NS_PER_MS, NS_PER_S

CD = AudioFormat(44_100, 2, SampleFormat.S16)
START = 1_000 * NS_PER_S


class PortAudioError(Exception):
    pass


class FakeStream:
    def __init__(self, portaudio: "FakePortAudio", settings: dict[str, Any]) -> None:
        self.portaudio, self.settings = portaudio, settings
        self.callback: Callable[..., None] = settings["callback"]
        self.active = False
        self.latency = 0.1
        self.played: list[Any] = []
        self.frame = 0

    def start(self) -> None:
        self.active = True
        self.portaudio.open_streams += 1

    def abort(self, ignore_errors: bool = True) -> None:
        self.active = False

    def close(self, ignore_errors: bool = True) -> None:
        self.portaudio.open_streams -= 1

    def play(self, frames: int, status: Any = None) -> Any:
        """Call the callback as the device would, and let time pass."""
        out = np.full((frames, self.settings["channels"]), np.nan, np.float32)
        now_s = self.portaudio.clock_s()
        times = SimpleNamespace(outputBufferDacTime=now_s + self.latency, currentTime=now_s)
        self.callback(out, frames, times, status)
        self.played.append(out)
        self.frame += frames
        self.portaudio.time.pass_ns(frames * NS_PER_S // self.settings["samplerate"])
        return out


class Time:
    def __init__(self) -> None:
        self.now = START

    def pass_ns(self, duration_ns: int) -> None:
        self.now += duration_ns


class FakePortAudio:
    """As much of the module `sounddevice` as the driver uses."""

    PortAudioError = PortAudioError

    def __init__(self, time: Time) -> None:
        self.time = time
        self.rates = {44_100, 48_000}
        self.channels = 2
        self.present = True
        self.open_streams = 0
        self.restarts = 0
        self.streams: list[FakeStream] = []
        self.default = SimpleNamespace(device=(-1, 0))
        self.clock_s: Callable[[], float] = lambda: clocks.real_now() / NS_PER_S

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": "Fake"}]

    def query_devices(self) -> list[dict[str, Any]]:
        device = {
            "name": "Loudspeaker",
            "hostapi": 0,
            "max_output_channels": self.channels,
            "default_samplerate": 48_000.0,
            "default_low_output_latency": 0.01,
            "default_high_output_latency": 0.1,
        }
        return [device] if self.present else []

    def check_output_settings(self, device: int, *, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in self.rates or channels > self.channels:
            raise PortAudioError("no")

    def OutputStream(self, **settings: Any) -> FakeStream:
        self.streams.append(FakeStream(self, settings))
        return self.streams[-1]

    def _terminate(self) -> None:
        self.restarts += 1

    def _initialize(self) -> None:
        pass


class FakeBuffer:
    format = CD


class FakeListening:
    """As much of a `Stream` as the driver touches before anything plays."""

    def __init__(self) -> None:
        self.buffer = FakeBuffer()
        self.buffer_ns = 45 * NS_PER_S
        self.schedule = object()
        self.playout: Any = None

    def attach(self, playout: Any) -> None:
        self.playout = playout


class Loud:
    """A playout that renders ones."""

    cursor = 0
    begun = True
    lead_ns = 0

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.firsts: list[int] = []
        self.underruns = 0

    def render(self, first: int, frames: int) -> Any:
        self.firsts.append(first)
        return np.ones((frames, self.channels), np.float32)

    def note_underrun(self) -> None:
        self.underruns += 1


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(device_sink, "local_now", lambda: time.now)
    return time


@pytest.fixture
def fake(time: Time) -> FakePortAudio:
    return FakePortAudio(time)


def make(fake: FakePortAudio, config: ListenerConfig | None = None, memory: Any = None) -> DeviceSink:
    config = Config().listener if config is None else config
    found = FoundOutput(fake, portaudio.find_device(fake, ""))
    return DeviceSink(config, 5 * NS_PER_MS, NoMemory() if memory is None else memory, found)


@pytest.fixture
def sink(fake: FakePortAudio) -> DeviceSink:
    return make(fake)


def begin(sink: DeviceSink, audio: AudioFormat = CD) -> FakeListening:
    listening = FakeListening()
    listening.buffer.format = audio
    sink.begin(audio, listening)  # type: ignore[arg-type]
    return listening


def run(sink: DeviceSink, fake: FakePortAudio, time: Time, blocks: int = 10, frames: int = 441) -> Any:
    stream = fake.streams[-1]
    out = []
    for _ in range(blocks):
        sink.fill(time.now)  # type: ignore[arg-type]
        out.append(stream.play(frames))
    return np.concatenate(out)


def test_it_is_opened_with_the_stream_s_own_format(sink: DeviceSink, fake: FakePortAudio) -> None:
    begin(sink)
    settings = fake.streams[0].settings
    assert (settings["samplerate"], settings["channels"], settings["dtype"]) == (44_100, 2, "float32")


@pytest.mark.parametrize(
    ("audio", "opened"),
    [
        (AudioFormat(96_000, 2, SampleFormat.S24), (48_000, 2)),
        (AudioFormat(44_100, 6, SampleFormat.S16), (44_100, 2)),
        (AudioFormat(192_000, 8, SampleFormat.F32), (48_000, 2)),
        (AudioFormat(44_100, 1, SampleFormat.S16), (44_100, 1)),
    ],
)
def test_what_the_device_can_t_do_is_converted(
    sink: DeviceSink, fake: FakePortAudio, audio: AudioFormat, opened: tuple[int, int]
) -> None:
    begin(sink, audio)
    settings = fake.streams[0].settings
    assert (settings["samplerate"], settings["channels"]) == opened


def test_a_short_buffer_leaves_little_in_the_device(sink: DeviceSink, fake: FakePortAudio) -> None:
    listening = FakeListening()
    listening.buffer_ns = 300 * NS_PER_MS
    sink.begin(CD, listening)  # type: ignore[arg-type]
    assert fake.streams[0].settings["latency"] == pytest.approx(0.05)
    sink._playout = Loud(2)  # type: ignore[assignment]
    sink.fill(sink._fill_at)
    assert 44_100 * 55 // 1000 < sink._ring.readable() <= 44_100 * 75 // 1000


def test_a_device_that_takes_nothing_is_said_so(sink: DeviceSink, fake: FakePortAudio) -> None:
    fake.rates = set()
    with pytest.raises(DeviceError, match="Loudspeaker"):
        begin(sink)


def test_the_ring_is_never_empty_from_the_first_callback_on(sink: DeviceSink, fake: FakePortAudio, time: Time) -> None:
    begin(sink)
    played = run(sink, fake, time, blocks=200)
    assert np.isfinite(played).all()
    assert sink._ring.underruns == 0


def test_music_waits_for_little_silence(sink: DeviceSink, fake: FakePortAudio, time: Time) -> None:
    begin(sink)
    run(sink, fake, time, blocks=100)
    assert sink._ring.readable() <= 44_100 * 60 // 1000
    sink._playout = Loud(2)  # type: ignore[assignment]
    run(sink, fake, time, blocks=1)
    assert sink._ring.readable() > 44_100 * 150 // 1000, "but music has to last"


def test_a_turn_renders_a_fifth_of_a_second_and_leaves_enough_for_a_stall(
    sink: DeviceSink, fake: FakePortAudio, time: Time
) -> None:
    begin(sink)
    sink._playout = loud = Loud(2)  # type: ignore[assignment]
    run(sink, fake, time, blocks=20)
    rendered = len(loud.firsts)
    left = []
    for _ in range(200):  # two seconds
        run(sink, fake, time, blocks=1)
        left.append(sink._ring.readable())
    assert 9 <= len(loud.firsts) - rendered <= 11
    assert min(left) >= 44_100 * 140 // 1000, "a device's block of 10 ms is gone already"


def test_turns_come_soon_after_callbacks(sink: DeviceSink, fake: FakePortAudio, time: Time) -> None:
    """Or the ring would be left with a device's period less, by chance."""
    begin(sink)
    sink._playout = Loud(2)  # type: ignore[assignment]
    stream, period_ns = fake.streams[0], 50 * NS_PER_MS
    callback_at, waits, left = time.now + 30 * NS_PER_MS, [], []
    for _ in range(60):
        at = sink.next_timeout(time.now)  # type: ignore[arg-type]
        while callback_at <= at:
            time.now = callback_at
            stream.play(2205)
            callback_at += period_ns
        time.now = at
        waits.append(period_ns - (callback_at - at))
        left.append(sink._ring.readable())
        sink.fill(time.now)  # type: ignore[arg-type]
    assert max(waits[20:]) <= 5 * NS_PER_MS
    assert min(left[20:]) >= 44_100 * 99 // 1000


def test_music_that_waits_for_stamps_does_not_wait_behind_more_silence(
    sink: DeviceSink, fake: FakePortAudio, time: Time
) -> None:
    begin(sink)
    sink._playout = Loud(2)  # type: ignore[assignment]
    sink._playout.begun = False
    run(sink, fake, time, blocks=10)
    assert sink._ring.readable() <= 44_100 * 60 // 1000


def test_every_block_is_rendered_for_the_frame_it_will_be_played_as(
    sink: DeviceSink, fake: FakePortAudio, time: Time
) -> None:
    begin(sink)
    sink._playout = loud = Loud(2)  # type: ignore[assignment]
    played = run(sink, fake, time, blocks=100)
    first_loud = int(np.flatnonzero(played[:, 0])[0])
    assert loud.firsts[0] == first_loud
    assert (played[first_loud:] == 1).all()


def test_after_an_underrun_frames_are_still_counted_as_the_device_counts(
    sink: DeviceSink, fake: FakePortAudio, time: Time
) -> None:
    begin(sink)
    sink._playout = loud = Loud(2)  # type: ignore[assignment]
    run(sink, fake, time, blocks=10)
    stream = fake.streams[-1]
    for _ in range(40):  # the loop stands still for 0.4 s: twice what is rendered ahead
        stream.play(441)
    assert sink._ring.underrun_frames > 0
    before = sink._ring.written_frame + sink._ring.underrun_frames
    rendered = len(loud.firsts)
    sink.fill(time.now)  # type: ignore[arg-type]
    assert loud.underruns == 1
    assert loud.firsts[rendered] == before == stream.frame, "what is rendered next comes after all that has been played"


def test_a_device_that_vanishes_is_opened_again(sink: DeviceSink, fake: FakePortAudio, time: Time) -> None:
    begin(sink)
    run(sink, fake, time)
    fake.streams[-1].active = False
    fake.present = False
    time.pass_ns(30 * NS_PER_MS)
    sink.fill(time.now)  # type: ignore[arg-type]
    assert fake.open_streams == 0
    for _ in range(3):
        time.pass_ns(NS_PER_S)
        sink.fill(time.now)  # type: ignore[arg-type]
    assert (fake.open_streams, sink.reopened) == (0, 0)
    fake.present = True
    time.pass_ns(NS_PER_S + NS_PER_MS)
    sink.fill(time.now)  # type: ignore[arg-type]
    assert (fake.open_streams, sink.reopened) == (1, 1)
    assert np.isfinite(run(sink, fake, time)).all()


def test_a_device_that_no_longer_calls_is_given_up(sink: DeviceSink, fake: FakePortAudio, time: Time) -> None:
    begin(sink)
    run(sink, fake, time)
    for _ in range(STUCK_NS // (20 * NS_PER_MS) + 3):
        time.pass_ns(20 * NS_PER_MS)
        sink.fill(time.now)  # type: ignore[arg-type]
    assert fake.restarts == 1


def test_a_process_that_stood_still_keeps_its_device(sink: DeviceSink, fake: FakePortAudio, time: Time) -> None:
    begin(sink)
    run(sink, fake, time)
    time.pass_ns(3 * NS_PER_S)
    run(sink, fake, time)
    assert fake.restarts == 0


def test_a_stream_that_is_let_go_fades_out(sink: DeviceSink, fake: FakePortAudio, time: Time) -> None:
    begin(sink)
    sink._playout = Loud(2)  # type: ignore[assignment]
    run(sink, fake, time, blocks=30)
    sink.release()
    played = run(sink, fake, time, blocks=60)[:, 0]
    assert (played[-441:] == 0).all()
    assert np.abs(np.diff(played)).max() < 0.01, "no click"


@pytest.mark.parametrize(
    ("name", "clock"),
    [
        ("realtime", clocks.real_now),
        ("monotonic", clocks.monotonic_now),
        ("unknown", lambda: clocks.local_now() + 12_345 * NS_PER_S),
    ],
)
def test_portaudio_s_clock_is_recognised(
    sink: DeviceSink, fake: FakePortAudio, time: Time, monkeypatch: pytest.MonkeyPatch, name: str, clock: Any
) -> None:
    monkeypatch.setattr(device_sink, "local_now", clocks.local_now)
    fake.clock_s = lambda: clock() / NS_PER_S
    begin(sink)
    sink.fill(clocks.local_now())
    for _ in range(4):
        fake.streams[-1].play(441)
    sink.fill(clocks.LocalNs(clocks.local_now() + NS_PER_S // 2))
    assert sink._stamps.clock_name == name
    assert sink._dac is not None
    assert sink._dac.counters.implausible == 0


def test_the_volume_is_the_loudness(fake: FakePortAudio) -> None:
    quiet = make(fake, replace(ListenerConfig(), volume=50.0))
    listening = begin(quiet)
    assert listening.playout._gain == pytest.approx(0.125)


@pytest.mark.parametrize("ahead_s", [0.1, 0.5])
def test_render_ahead_is_how_much_is_rendered_ahead(fake: FakePortAudio, time: Time, ahead_s: float) -> None:
    sink = make(fake, replace(ListenerConfig(), render_ahead=ahead_s))
    begin(sink)
    sink._playout = Loud(2)  # type: ignore[assignment]
    run(sink, fake, time, blocks=50)
    assert 0.45 * ahead_s <= sink._ring.readable() / 44_100 <= ahead_s


def test_portaudio_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real(name, *args, **options)

    real = __import__
    monkeypatch.setattr("builtins.__import__", refuse)
    with pytest.raises(DeviceError, match=r"libportaudio2.*--output wav:"):
        portaudio.load_portaudio()


@pytest.mark.parametrize(("wanted", "found"), [("", 0), ("0", 0), ("Loudspeaker", 0), ("speak", 0)])
def test_a_device_is_found_by_number_name_or_part_of_it(fake: FakePortAudio, wanted: str, found: int) -> None:
    assert portaudio.find_device(fake, wanted).index == found


def test_a_device_that_is_not_there_is_one_line_with_those_that_are(fake: FakePortAudio) -> None:
    with pytest.raises(DeviceError, match=r"nothing: there is none.*0: Loudspeaker"):
        portaudio.find_device(fake, "nothing")
    fake.present = False
    with pytest.raises(DeviceError, match="no sound device was found"):
        portaudio.find_device(fake, "")


class Remembers:
    """A memory of one device."""

    def __init__(self, rate: KnownRate) -> None:
        self.rate = rate

    def host_skew(self, host: str) -> KnownRate | None:
        return None

    def device_rate(self, device: str) -> KnownRate | None:
        return self.rate if device == "Fake: Loudspeaker" else None


def test_what_was_learnt_of_the_device_is_known_from_the_start(fake: FakePortAudio, time: Time) -> None:
    sink = make(fake, memory=Remembers(KnownRate(rate=70e-6, sigma=0.1e-6)))
    assert sink.learnt() is None
    begin(sink)
    assert sink.stats()["device_rate_ppm"] == pytest.approx(70, abs=0.1)
    run(sink, fake, time)
    learnt = sink.learnt()
    assert learnt is not None
    assert learnt[0] == "Fake: Loudspeaker"
    assert learnt[1].sigma > 0


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come true within ten seconds")


class Slow(FakePortAudio):
    """A device whose driver takes its time to open."""

    def __init__(self, time: Time) -> None:
        super().__init__(time)
        self.may_open = threading.Event()

    def check_output_settings(self, device: int, **settings: Any) -> None:
        self.may_open.wait(10)
        super().check_output_settings(device, **settings)


class TestInTheBackground:
    """The loop goes on while a device is being opened."""

    @pytest.fixture
    def slow(self, time: Time) -> Slow:
        return Slow(time)

    def make(self, slow: Slow, woken: threading.Event) -> DeviceSink:
        found = FoundOutput(slow, portaudio.find_device(slow, ""))
        return DeviceSink(Config().listener, 5 * NS_PER_MS, NoMemory(), found, wake=woken.set)

    def test_a_device_that_opens_slowly_holds_nobody_up(self, slow: Slow, time: Time) -> None:
        woken = threading.Event()
        sink = self.make(slow, woken)
        listening = begin(sink)
        sink.fill(time.now)  # type: ignore[arg-type]
        assert (sink.opened, listening.playout, woken.is_set()) == (False, None, False)
        slow.may_open.set()
        assert woken.wait(10), "the loop is told"
        sink.fill(time.now)  # type: ignore[arg-type]
        assert sink.opened
        assert listening.playout is not None
        assert np.isfinite(run(sink, slow, time)).all()

    def test_a_device_that_refuses_is_said_so_by_the_loop(self, slow: Slow, time: Time) -> None:
        slow.rates = set()
        slow.may_open.set()
        sink = self.make(slow, woken := threading.Event())
        begin(sink)
        assert woken.wait(10)
        with pytest.raises(DeviceError, match="Loudspeaker"):
            sink.fill(time.now)  # type: ignore[arg-type]

    def test_what_is_still_opening_is_closed_too(self, slow: Slow) -> None:
        sink = self.make(slow, threading.Event())
        begin(sink)
        slow.may_open.set()
        sink.close()
        wait_until(lambda: slow.open_streams == 0)
        assert len(slow.streams) == 1

    def test_another_stream_while_opening_is_the_one_that_is_played(self, slow: Slow, time: Time) -> None:
        sink = self.make(slow, woken := threading.Event())
        begin(sink)
        slow.may_open.set()
        second = begin(sink, AudioFormat(48_000, 2, SampleFormat.S16))
        assert woken.wait(10)
        wait_until(lambda: sink._opening is None or sink._opening.done)
        sink.fill(time.now)  # type: ignore[arg-type]
        assert second.playout is not None
        assert (slow.open_streams, slow.streams[-1].settings["samplerate"]) == (1, 48_000)
