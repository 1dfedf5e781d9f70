"""A listener is silent in the stretches that others play alone, to the frame, on either kind of playout."""

import numpy as np
import pytest

from radiosync.audio.conceal import RAMP_MS
from radiosync.audio.pcm import quieter
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.schedule import Schedule
from radiosync.listener.solo import KEPT_MAX, PAST_S, Solos
from radiosync.units import NS_PER_S
from radiosync.wire.messages import SoloEntry

RATE = 8_000
RAMP = round(RATE * RAMP_MS / 1000)
OWN = 77


def entry(listener_id, first, frames):
    return SoloEntry(listener_id=listener_id, first_frame=first, frames=frames)


def gain(solos, first, count):
    found = solos.gain(first, count)
    return np.ones(count) if found is None else found


def test_the_gain_is_0_in_others_stretches_and_1_elsewhere():
    solos = Solos(RATE)
    assert solos.gain(0, 5000) is None
    solos.add([entry(5, 1000, 300), entry(OWN, 1300, 300), entry(0, 1600, 200)], OWN)
    whole = gain(solos, 0, 5000)
    assert not whole[1000:1300].any()
    assert not whole[1600:1800].any()
    assert (whole[: 1001 - RAMP] == 1).all()
    assert (whole[1299 + RAMP : 1601 - RAMP] == 1).all()
    assert (whole[1799 + RAMP :] == 1).all()
    ramp = (1 - np.cos(np.pi * np.arange(RAMP) / RAMP)) / 2
    assert whole[1299 : 1299 + RAMP] == pytest.approx(ramp)
    assert whole[1001 - RAMP : 1001] == pytest.approx(ramp[::-1])


@pytest.mark.parametrize("block", [1, 7, 160])
def test_it_does_not_depend_on_the_blocks(block):
    solos = Solos(RATE)
    solos.add([entry(5, 1000, 300), entry(6, 1310, 20)], OWN)
    pieces = [gain(solos, at, block) for at in range(0, 2000, block)]
    assert np.array_equal(np.concatenate(pieces)[:2000], gain(solos, 0, 2000))


def test_stretches_are_facts_that_add_up():
    solos = Solos(RATE)
    solos.add([entry(5, 1000, 300)], OWN)
    solos.add([entry(6, 2000, 300)], OWN)
    solos.add([entry(5, 1000, 300)], OWN)
    assert not gain(solos, 1000, 300).any()
    assert not gain(solos, 2000, 300).any()
    assert solos.refused == 0


def test_what_has_passed_is_forgotten():
    solos = Solos(RATE)
    solos.add([entry(5, 1000, 300)], OWN)
    gain(solos, 1300 + PAST_S * RATE - 1, 10)
    assert not gain(solos, 1000, 300).any()
    gain(solos, 1300 + PAST_S * RATE, 10)
    assert gain(solos, 1000, 300).all()


def test_stretches_are_bounded_and_the_nearest_stay():
    solos = Solos(RATE)
    solos.add([entry(5, 1000 * i, 500) for i in range(KEPT_MAX + 3)], OWN)
    assert solos.refused == 3
    assert not gain(solos, 1000 * (KEPT_MAX - 1), 500).any()
    assert gain(solos, 1000 * KEPT_MAX, 500).all()


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_samples_of_every_format_become_quieter(dtype):
    samples = np.array([[100, -101], [100, -101], [100, -101]], dtype)
    out = quieter(samples, np.array([1, 0.5, 0], np.float32))
    assert out.dtype == dtype
    assert np.array_equal(out[[0, 2]], [[100, -101], [0, 0]])
    assert out[1] == pytest.approx([50, -50.5], abs=0.5)


def test_a_file_holds_silence_there_and_the_rest_bit_for_bit(kit):
    buffer = JitterBuffer(kit.MONO, 1000)
    for seq in range(10):
        for symbol in kit.chunk_symbols(seq, seq * 400, kit.counting(seq * 400, 400)):
            buffer.add(seq, symbol)
    schedule = Schedule(kit.timeline_at(), kit.mapping_with(), kit.MONO.rate, 0)
    schedule.solos.add([entry(5, 1000, 700), entry(OWN, 1700, 300)], OWN)
    playout = ExactPlayout(buffer, schedule)
    playout.start(0)
    playout.final_frame = 3000
    blocks = []
    while (block := playout.take(kit.START + NS_PER_S)) is not None:
        blocks.append(block.samples)
    out, plain = np.concatenate(blocks), kit.counting(0, 3000)
    assert not out[1000:1700].any()
    assert np.array_equal(out[: 1001 - RAMP], plain[: 1001 - RAMP])
    assert np.array_equal(out[1699 + RAMP :], plain[1699 + RAMP :])
    assert (playout.concealed_frames, playout.gaps) == (0, 0)  # nothing was missing


def test_a_listener_heeds_what_its_host_says_and_knows_its_own_number(world):
    it = world(seconds=4.0)
    it.run(5.0, until=lambda: it.host.listeners and it.listener.stream is not None)
    (row,) = it.host.listeners
    it.host.announcer.solos = (entry(row.report.listener_id, 16_000, 2_000), entry(0, 20_000, 2_000))
    it.run(8.0)
    first = it.blocks[0].frame
    assert first < 15_000
    assert it.heard[16_000 - first : 18_000 - first].any(axis=1).mean() > 0.9
    assert not it.heard[20_000 - first : 22_000 - first].any()
    assert it.heard[22_000 + RAMP - first : 24_000 - first].any(axis=1).mean() > 0.9
