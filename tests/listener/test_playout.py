from dataclasses import replace

import numpy as np
import pytest

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.playout import DeviceFormat, DevicePlayout
from radiosync.listener.schedule import Schedule
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, ns_from_frames
from radiosync.wire.messages import SoloEntry

RATE = 48_000
CHUNK = 4_800
BLOCK = 480
TONE_HZ = 997.0
FADE = RATE * 5 // 1000


class IdealDac:
    """A device whose frames are known exactly; its crystal may be off, its time may jump."""

    def __init__(self, phase_at, ppm=0.0, rate=RATE):
        self.phase_at = phase_at
        self.rate = rate * (1 + ppm * 1e-6)
        self.usable = True

    def local_from_dac(self, frame):
        return self.phase_at + round(frame / self.rate * NS_PER_S)

    def sigma_ns_at(self, frame):
        return 0.0


class Room:
    """A playout of a signal, given as a function of the media frame."""

    def __init__(self, kit, signal, *, seconds=4.0, ppm=0.0, device_rate=RATE, lost=(), lead_ns=0, channels=1, **more):
        self.kit = kit
        self.audio = AudioFormat(RATE, channels, SampleFormat.F32)
        self.buffer = JitterBuffer(self.audio, 1000)
        self.frames = round(seconds * RATE)
        for seq in range(self.frames // CHUNK):
            if seq not in lost:
                samples = np.repeat(signal(np.arange(seq * CHUNK, (seq + 1) * CHUNK))[:, None], channels, axis=1)
                for symbol in kit.chunk_symbols(
                    seq, seq * CHUNK, samples.astype(np.float32), self.audio, symbol_bytes=1000
                ):
                    self.buffer.add(seq, symbol)
        self.schedule = Schedule(kit.timeline_at(kit.EPOCH + lead_ns), kit.mapping_with(), RATE, 0)
        self.dac = IdealDac(kit.START, ppm, device_rate)
        self.device = DeviceFormat(rate=device_rate, channels=channels)
        self.playout = DevicePlayout(
            self.buffer, self.schedule, self.dac, self.device, resync_ns=5 * NS_PER_MS, gain=more.get("gain", 1.0)
        )
        self.playout.final_frame = self.frames
        self.rendered = 0

    def render(self, seconds):
        blocks = []
        for _ in range(round(seconds * self.device.rate / BLOCK)):
            blocks.append(self.playout.render(self.rendered, BLOCK))
            self.rendered += BLOCK
        return np.concatenate(blocks)

    def due(self, first, count):
        """Return the media position that is really due at each of the device's frames."""
        local_s = (np.arange(first, first + count) / self.dac.rate) + (self.dac.phase_at - self.kit.START) / NS_PER_S
        zero_s = (self.schedule.log.newest.effective_at - self.kit.EPOCH) / NS_PER_S
        offset_s = (self.schedule.mapping.host_at - self.kit.EPOCH) / NS_PER_S
        return (local_s + offset_s - zero_s) * RATE


def tone(position):
    return 0.5 * np.sin(2 * np.pi * TONE_HZ * position / RATE)


def steady(position):
    return np.full(len(position), 0.5)


@pytest.fixture
def room(kit):
    def make(signal=tone, **more):
        return Room(kit, signal, **more)

    return make


def test_the_first_frame_is_placed_exactly(room):
    """In the middle of a block, and of a device frame: what comes out is the tone as if it had been sampled there."""
    for lead_ns in (100 * NS_PER_MS, 101_234_567, 107_770_001):
        it = room(lead_ns=lead_ns)
        it.playout.start(0)
        out = it.render(1.0)[:, 0]
        position = it.due(0, len(out))
        first = int(np.searchsorted(position, 0))
        assert not out[: first - 40].any(), "silence before"
        assert np.abs(out[first - 40 : first]).max() < 0.05, "a filter rings a little ahead"
        assert np.abs(out[first + 100 :] - tone(position[first + 100 :])).max() < 1e-3
        # Its attack is whole: no fade hides the first frames.
        assert np.abs(out[first : first + 100] - tone(position[first : first + 100])).max() < 0.05


@pytest.mark.parametrize("ppm", [-80.0, 0.0, 80.0])
def test_a_device_with_a_crystal_of_its_own_stays_exact(room, ppm):
    it = room(seconds=6.0, ppm=ppm, lead_ns=50 * NS_PER_MS)
    it.playout.start(0)
    out = it.render(5.5)[:, 0]
    position = it.due(0, len(out))
    assert np.abs(out[5000:] - tone(position[5000:])).max() < 2e-3, "that is 5 µs"
    assert abs(it.playout.sync_error_ns) < 2 * NS_PER_US
    assert it.playout.correction == pytest.approx(-ppm * 1e-6, abs=3e-6)
    assert it.playout.hard_resyncs == it.playout.underruns == 0


def test_a_device_of_another_rate_plays_in_time(room):
    it = room(device_rate=44_100, lead_ns=50 * NS_PER_MS)
    it.playout.start(0)
    out = it.render(3.0)[:, 0]
    assert np.abs(out[5000:] - tone(it.due(0, len(out))[5000:])).max() < 2e-3


def test_volume_and_channels(room):
    it = room(channels=2, gain=0.25, lead_ns=10 * NS_PER_MS)
    it.playout.start(0)
    out = it.render(1.0)
    assert out.dtype == np.float32
    assert out.shape == (RATE, 2)
    assert np.abs(out).max() == pytest.approx(0.125, rel=1e-3)


def test_nothing_is_played_before_it_is_told_to(room):
    it = room()
    assert not it.render(0.1).any()
    it.playout.start(0)
    it.dac.usable = False
    assert not it.render(0.1).any()
    it.dac.usable = True
    assert it.render(0.1).any()


def test_it_ends_with_the_final_frame(room):
    it = room(seconds=1.0, lead_ns=NS_PER_MS)
    it.playout.start(0)
    out = it.render(1.5)[:, 0]
    position = it.due(0, len(out))
    assert it.playout.ended
    assert not out[position > it.frames + 2 * BLOCK].any()
    assert (
        np.abs(out[position < it.frames - 100][1000:] - tone(position[position < it.frames - 100])[1000:]).max() < 1e-3
    )
    assert it.playout.concealed_frames == 0, "after the end nothing is missing"


# --- fades ------------------------------------------------------------------------------------------------------------


def assert_no_click(out):
    """A raised cosine over 5 ms from 0 to 0.5 climbs at most this much per frame."""
    assert np.abs(np.diff(out)).max() < 1.3 * 0.5 * np.pi / 2 / FADE


@pytest.mark.parametrize("entry_s", [0.5, 1.003])
def test_who_joins_in_the_middle_fades_in(room, entry_s):
    """The device is at 1 s; the entry lies behind it (it took long to begin) or a little ahead of it."""
    it = room(steady)
    it.render(1.0)
    it.playout.start(round(entry_s * RATE))
    out = it.render(0.5)[:, 0]
    assert np.abs(out[:2]).max() < 0.01
    assert_no_click(out)
    begun = int(np.argmax(out > 1e-4))
    assert out[begun + FADE + 20 :] == pytest.approx(0.5, abs=1e-3)
    expected = max(0, round((entry_s - 1) * RATE))
    assert abs(begun - expected) < 30


def test_an_underrun_is_entered_anew_at_the_right_place(room):
    it = room(lead_ns=10 * NS_PER_MS)
    it.playout.start(0)
    it.render(1.0)
    it.rendered += 5_000  # what the device played meanwhile nobody rendered
    it.playout.note_underrun()
    out = it.render(1.0)[:, 0]
    position = it.due(RATE + 5_000, len(out))
    assert np.abs(out[2 * FADE :] - tone(position[2 * FADE :])).max() < 1e-3
    assert np.abs(out[:5]).max() < 0.01
    assert it.playout.underruns == 1
    assert it.playout.hard_resyncs == 1


@pytest.mark.parametrize("jump_ns", [30 * NS_PER_MS, -30 * NS_PER_MS])
def test_a_clock_that_steps_is_followed_by_one_faded_jump(room, kit, jump_ns):
    it = room(steady, seconds=12.0, lead_ns=10 * NS_PER_MS)
    it.playout.start(0)
    before = it.render(2.0)[-1]
    assert before == pytest.approx(0.5, abs=1e-3)
    it.schedule.mapping = kit.mapping_with(kit.OFFSET + jump_ns)
    out = it.render(4.0)[:, 0]
    assert it.playout.hard_resyncs == 1
    assert_no_click(out)
    silent = np.flatnonzero(np.abs(out) < 0.005)
    assert 0 < len(silent) < 2 * FADE
    assert NS_PER_S <= ns_from_frames(int(silent[0]), RATE) <= 2.1 * NS_PER_S
    assert out[-1] == pytest.approx(0.5, abs=1e-3)
    assert abs(it.playout.sync_error_ns) < 20 * NS_PER_US


def test_after_the_jump_it_is_exact(room, kit):
    it = room(seconds=8.0, lead_ns=10 * NS_PER_MS)
    it.playout.start(0)
    it.render(1.0)
    it.schedule.mapping = kit.mapping_with(kit.OFFSET + 40 * NS_PER_MS)
    it.render(3.0)
    assert it.playout.hard_resyncs == 1
    first = it.rendered
    out = it.render(1.0)[:, 0]
    assert np.abs(out - tone(it.due(first, len(out)))).max() < 3e-3


def test_a_small_error_is_mended_without_a_jump(room, kit):
    it = room(seconds=12.0, lead_ns=10 * NS_PER_MS)
    it.playout.start(0)
    it.render(1.0)
    it.schedule.mapping = kit.mapping_with(kit.OFFSET + NS_PER_MS)
    it.render(0.02)
    assert it.playout.sync_error_ns == pytest.approx(NS_PER_MS, rel=0.05)
    assert it.playout.correction > 0, "it is late, so it plays faster"
    out = it.render(8.0)[:, 0]
    assert abs(it.playout.sync_error_ns) < 600 * NS_PER_US
    assert it.playout.hard_resyncs == 0
    assert np.abs(np.diff(out)).max() < 1.01 * 0.5 * 2 * np.pi * TONE_HZ / RATE, "nobody hears it happen"


def test_a_card_that_was_without_its_clock_for_a_second_is_steered_as_gently(room):
    """Its next block is heard a second later than the last; it is 20 ms of music all the same."""
    it = room(seconds=12.0, lead_ns=10 * NS_PER_MS)
    it.playout.start(0)
    it.render(2.0)
    it.dac.phase_at += NS_PER_S
    before = it.playout.steering
    it.render(0.04)
    assert abs(it.playout.steering - before) < 200e-6 * 0.06


def test_gaps_fade_out_and_in_and_are_counted(room):
    it = room(steady, lost=(10, 11), lead_ns=10 * NS_PER_MS)
    it.playout.start(0)
    out = it.render(2.0)[:, 0]
    position = it.due(0, len(out))
    inside = (position > 10 * CHUNK + 50) & (position < 12 * CHUNK - 50)
    assert not np.abs(out[inside]).max() > 1e-3
    assert_no_click(out[2000:])
    assert it.playout.concealed_frames == 2 * CHUNK
    assert out[-1] == pytest.approx(0.5, abs=1e-3)


def test_who_joins_misses_nothing_that_was_before(room):
    """The resampler runs in on the frames before the entry, which a joiner has never had."""
    it = room(steady, lost=range(10))
    it.playout.start(10 * CHUNK)
    out = it.render(2.0)[:, 0]
    assert it.playout.concealed_frames == 0
    assert not out[: 10 * CHUNK - 40].any()
    assert_no_click(out)
    assert out[10 * CHUNK + FADE + 50 :] == pytest.approx(0.5, abs=1e-3)


def test_a_fade_goes_on_across_blocks(room):
    it = room(steady)
    it.render(1.0)
    it.playout.start(0)
    assert_no_click(np.concatenate([np.zeros(1), *(it.playout.render(RATE + 7 * i, 7)[:, 0] for i in range(200))]))


# --- records ----------------------------------------------------------------------------------------------------------

LEAD_NS = 10 * NS_PER_MS
CUT = 33_333  # inside of a block


def obey(it, *steps):
    """Add records: state, frame, ns after the first frame's instant, epoch."""
    log = it.schedule.log
    for state, frame, after_ns, epoch in steps:
        version = log.newest.version + 1
        assert log.add(it.kit.timeline_at(it.kit.EPOCH + LEAD_NS + after_ns, frame, version, state, epoch))


def device_frame(it, after_ns):
    """Return the (fractional) device frame that is heard `after_ns` after the first media frame's instant."""
    return (LEAD_NS + after_ns) * it.dac.rate / NS_PER_S


@pytest.mark.parametrize("ppm", [0.0, 60.0])
@pytest.mark.parametrize("told_s", [0.0, 0.55])
def test_a_pause_fades_out_to_its_very_frame_without_a_click(room, ppm, told_s):
    it = room(steady, lead_ns=LEAD_NS, ppm=ppm)
    it.playout.start(0)
    begun = it.render(told_s) if told_s else np.zeros((0, 1), np.float32)
    obey(it, (PlayState.PAUSED, CUT, ns_from_frames(CUT, RATE), 1))
    out = np.concatenate([begun, it.render(2.0)])[:, 0]
    cut = device_frame(it, ns_from_frames(CUT, RATE))
    before, after = out[2000 : int(cut) - FADE - 40], out[int(cut) + 2 :]
    assert before == pytest.approx(0.5, abs=1e-3), "until then nothing is lost"
    assert not after.any(), "nothing of the old record after its end"
    assert_no_click(out[2000:])
    assert it.playout.cursor == CUT
    assert it.playout.concealed_frames == it.playout.underruns == it.playout.hard_resyncs == 0


@pytest.mark.parametrize("ppm", [0.0, -60.0])
@pytest.mark.parametrize("frame", [CUT, 15 * CHUNK + 77])
def test_it_goes_on_exactly_when_the_next_record_says(room, ppm, frame):
    """With the very frame, in the middle of a block and of a device frame; faded in, for it is no song's first."""
    it = room(seconds=4.0, lead_ns=LEAD_NS, ppm=ppm)
    it.playout.start(0)
    resumed_ns = 1_234_567_891
    epoch = 1 if frame == CUT else 2
    obey(it, (PlayState.PAUSED, CUT, ns_from_frames(CUT, RATE), 1), (PlayState.PLAYING, frame, resumed_ns, epoch))
    out = it.render(2.0)[:, 0]
    first = device_frame(it, resumed_ns)
    begin = int(np.ceil(first))
    cut = int(device_frame(it, ns_from_frames(CUT, RATE)))
    assert not out[cut + 2 : begin - 40].any()
    position = frame + (np.arange(len(out)) - first) / it.dac.rate * RATE
    settled = slice(begin + FADE + 100, None)
    assert np.abs(out[settled] - tone(position[settled])).max() < 3e-3
    assert np.abs(out[begin - 40 : begin + 20]).max() < 0.01, "faded in"
    assert it.playout.concealed_frames == 0
    assert it.playout.record.version == 3


def test_what_is_not_played_while_the_cards_clock_is_unknown_is_counted(room):
    it = room(seconds=4.0, lead_ns=LEAD_NS)
    it.playout.start(0)
    it.render(1.0)
    it.dac.usable = False
    assert not it.render(0.1)[-10:].any()
    it.dac.usable = True
    out = it.render(0.5)
    assert out[-10:].any()
    assert it.playout.hard_resyncs == 1
    assert it.playout.underruns == 0


def test_who_goes_on_in_another_place_has_no_error_left_to_work_off(room, kit):
    it = room(seconds=8.0, lead_ns=LEAD_NS)
    it.playout.start(0)
    it.render(1.0)
    it.schedule.mapping = kit.mapping_with(kit.OFFSET + 4 * NS_PER_MS)
    it.render(1.0)
    assert it.playout.steering > 30e-6
    obey(it, (PlayState.PLAYING, 5 * RATE, 2_000_000_000, 2))
    it.render(0.5)
    assert it.playout.record.version == 2
    assert abs(it.playout.steering) < 1e-6
    assert abs(it.playout.sync_error_ns) < NS_PER_US


def test_a_song_that_is_jumped_to_keeps_its_attack(room):
    it = room(lead_ns=LEAD_NS)
    for slot in it.buffer._slots.values():  # from chunk 20 on it is another song
        if slot.header.first_frame >= 20 * CHUNK:
            slot._best.header = replace(slot.header, song_id=2, song_frame=slot.header.first_frame - 20 * CHUNK)
    it.playout.start(0)
    jumped_ns = 777_777_777
    obey(it, (PlayState.PLAYING, 20 * CHUNK, jumped_ns, 2))
    out = it.render(1.5)[:, 0]
    first = device_frame(it, jumped_ns)
    begin = int(np.ceil(first))
    position = 20 * CHUNK + np.arange(len(out)) - first
    assert np.abs(out[begin : begin + 100] - tone(position[begin : begin + 100])).max() < 0.05
    assert np.abs(out[begin + 100 :] - tone(position[begin + 100 :])).max() < 1e-3
    before = slice(2000, begin - FADE - 40)
    old = np.arange(len(out)) - device_frame(it, 0)
    assert np.abs(out[before] - tone(old[before])).max() < 1e-3, "until the jump the old song plays"
    assert it.playout.concealed_frames == 0


def test_a_jump_and_several_records_within_one_block(room):
    it = room(steady, lead_ns=LEAD_NS)
    it.playout.start(0)
    at_ns = 500 * NS_PER_MS
    obey(
        it,
        (PlayState.PAUSED, RATE // 2, at_ns, 1),
        (PlayState.PAUSED, RATE, at_ns + NS_PER_MS, 2),
        (PlayState.PLAYING, RATE, at_ns + 2 * NS_PER_MS, 2),
    )
    out = it.render(2.0)[:, 0]
    assert_no_click(out[2000:])
    assert out[-1] == pytest.approx(0.5, abs=1e-3)
    begin = device_frame(it, at_ns + 2 * NS_PER_MS)
    assert it.playout.cursor == pytest.approx(RATE + it.rendered - begin, abs=2)


@pytest.mark.parametrize("off_ms", [0, 4, -4])
def test_an_ordered_resync_is_one_faded_jump_to_the_right_position(room, kit, off_ms):
    """Below the threshold of a jump of its own; the clock is wrong by so much when the order comes."""
    it = room(steady, seconds=8.0, lead_ns=LEAD_NS)
    it.playout.start(0)
    it.render(1.0)
    it.schedule.mapping = kit.mapping_with(kit.OFFSET + off_ms * NS_PER_MS)
    obey(it, (PlayState.PLAYING, 3 * RATE, 3 * NS_PER_S, 1))
    before = it.render(1.9)[:, 0]
    assert np.abs(before - 0.5).max() < 2e-3, "nothing is heard before"
    assert it.playout.hard_resyncs == 0
    assert abs(it.playout.sync_error_ns) >= abs(off_ms) * NS_PER_MS / 2
    first = it.rendered
    out = it.render(0.5)[:, 0]
    assert it.playout.hard_resyncs == 1
    assert_no_click(np.concatenate((before, out)))
    silent = np.flatnonzero(np.abs(out) < 0.01)
    at = device_frame(it, 3 * NS_PER_S) - off_ms * RATE // 1000 - first
    assert np.abs(silent - at).max() < FADE, "exactly where the record says"
    assert np.abs(out[silent[-1] + FADE :] - 0.5).max() < 2e-3
    assert abs(it.playout.sync_error_ns) < 20 * NS_PER_US
    assert it.playout.concealed_frames == 0


def test_what_plays_on_unchanged_after_an_ordered_resync_is_exact(room):
    it = room(lead_ns=LEAD_NS, ppm=30.0)
    it.playout.start(0)
    obey(it, (PlayState.PLAYING, 2 * RATE, 2 * NS_PER_S, 1))
    out = it.render(3.0)[:, 0]
    begin = int(device_frame(it, 2 * NS_PER_S))
    expected = tone(it.due(0, len(out)))
    assert np.abs(out[begin - FADE : begin + FADE] - expected[begin - FADE : begin + FADE]).max() > 0.1, "faded"
    assert np.abs(out[begin + 2 * FADE :] - expected[begin + 2 * FADE :]).max() < 2e-3
    assert it.playout.hard_resyncs == 1


def test_a_mute_fades_out_and_in_and_loses_no_step(room):
    it = room(seconds=8.0, ppm=40.0, lead_ns=LEAD_NS)
    it.playout.start(0)
    before = it.render(1.0)
    it.playout.set_muted(True)
    muted = it.render(1.0)
    it.playout.set_muted(False)
    first = it.rendered
    after = it.render(1.0)
    out = np.concatenate((before, muted, after))[:, 0]
    expected = tone(it.due(0, len(out)))
    assert np.abs(out[RATE // 2 : RATE - 100] - expected[RATE // 2 : RATE - 100]).max() < 2e-3
    soon = RATE // 20  # the resampler has read ahead
    assert not muted[soon:].any()
    assert muted[: FADE // 2].any(), "faded, not cut"
    assert np.abs(np.diff(out[RATE // 2 :])).max() < 1.1 * 0.5 * 2 * np.pi * TONE_HZ / RATE
    assert np.abs(after[soon:, 0] - expected[first + soon :]).max() < 2e-3, "at once where it should be"
    assert it.playout.cursor == pytest.approx(it.due(it.rendered, 1)[0], abs=2)
    assert it.playout.concealed_frames == pytest.approx(RATE, abs=soon)
    assert (it.playout.gaps, it.playout.hard_resyncs) == (1, 0)


@pytest.mark.parametrize("jump_ns", [30 * NS_PER_MS, -30 * NS_PER_MS, 2 * NS_PER_MS])
def test_who_comes_back_from_a_mute_is_at_once_where_it_should_be(room, kit, jump_ns):
    """The clock has found out better meanwhile; nobody hears that, so that nothing need be worked off."""
    it = room(seconds=8.0, lead_ns=LEAD_NS)
    it.playout.start(0)
    it.render(1.0)
    it.playout.set_muted(True)
    it.render(0.5)
    it.schedule.mapping = kit.mapping_with(kit.OFFSET + jump_ns)
    it.render(0.2)
    it.playout.set_muted(False)
    first = it.rendered
    out = it.render(0.5)[:, 0]
    soon = RATE // 20
    assert np.abs(out[soon:] - tone(it.due(first + soon, len(out) - soon))).max() < 2e-3
    assert np.abs(np.diff(out)).max() < 1.1 * 0.5 * 2 * np.pi * TONE_HZ / RATE
    assert it.playout.hard_resyncs == 0


def test_a_mute_that_ends_before_it_was_heard_is_not_heard(room):
    it = room(seconds=8.0, lead_ns=LEAD_NS)
    it.playout.start(0)
    it.render(1.0)
    it.playout.set_muted(True)
    it.playout.set_muted(False)
    first = it.rendered
    out = it.render(0.5)[:, 0]
    assert np.abs(out - tone(it.due(first, len(out)))).max() < 2e-3


def test_who_starts_muted_is_not_heard(room):
    it = room(lead_ns=LEAD_NS)
    it.playout.set_muted(True)
    it.playout.start(0)
    assert not it.render(1.0).any()
    it.playout.set_muted(False)
    assert it.render(1.0).any()


def test_after_a_pause_the_sync_error_is_that_of_before(room):
    it = room(seconds=10.0, ppm=50.0, lead_ns=LEAD_NS)
    it.playout.start(0)
    obey(
        it,
        (PlayState.PAUSED, 4 * RATE, 4 * NS_PER_S, 1),
        (PlayState.PLAYING, 4 * RATE, 5 * NS_PER_S + 4_321, 1),
    )
    it.render(3.9)
    assert abs(it.playout.sync_error_ns) < 2 * NS_PER_US
    it.render(3.9)
    assert abs(it.playout.sync_error_ns) < 2 * NS_PER_US
    assert it.playout.hard_resyncs == 0


@pytest.mark.parametrize(("device_rate", "ppm"), [(RATE, 0.0), (44_100, 80.0)])
def test_while_another_plays_alone_a_device_is_silent_and_stays_in_step(room, device_rate, ppm):
    it = room(device_rate=device_rate, ppm=ppm, lead_ns=50 * NS_PER_MS)
    first, frames = 96_000, 9_600
    it.schedule.solos.add([SoloEntry(listener_id=5, first_frame=first, frames=frames)], 77)
    it.playout.start(0)
    out = it.render(3.0)[:, 0]
    position = it.due(0, len(out))
    inside = (position >= first + 100) & (position < first + frames - 100)  # beyond that the resampler rings
    outside = (position > 5000) & ((position < first - FADE - 100) | (position > first + frames + FADE + 100))
    assert np.abs(out[inside]).max() < 1e-6
    assert np.abs(out[outside] - tone(position[outside])).max() < 2e-3
    assert (it.playout.concealed_frames, it.playout.underruns, it.playout.hard_resyncs) == (0, 0, 0)


def test_it_falls_silent_for_another_without_a_click(room):
    it = room(steady, lead_ns=0)
    it.schedule.solos.add([SoloEntry(listener_id=5, first_frame=48_000, frames=4_800)], 77)
    it.playout.start(0)
    out = it.render(2.0)[:, 0]
    assert np.abs(out[48_100:52_700]).max() < 1e-6
    assert_no_click(out[5000:])
