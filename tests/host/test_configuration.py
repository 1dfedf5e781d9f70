"""Each key that a host session obeys, by what leaves the session: with the default instead, every test here fails."""

import pytest

from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import encode
from radiosync.wire.messages import Announce, Audio, Sync

ANNA, BERT = ("10.0.0.1", 5000), ("10.0.0.2", 5000)


def audio(it):
    return [(at, message) for at, message, _ in it.sent if isinstance(message, Audio)]


@pytest.mark.parametrize("buffer_s", [10.0, 20.0])
def test_buffer_duration_is_how_far_ahead_music_is_sent(driven, buffer_s):
    it = driven(**{"radio_sync.buffer_duration": buffer_s})
    it.run(30)
    ahead_s = max(m.chunk.play_at - at for at, m in audio(it)[-100:]) / NS_PER_S
    assert buffer_s - 0.1 <= ahead_s <= buffer_s


@pytest.mark.parametrize("most_s", [2.0, 2.5, 5.0])
def test_buffer_max_is_how_deep_the_buffer_may_become(driven, most_s):
    it = driven(**{"radio_sync.buffer_duration": 2.0, "radio_sync.buffer_max": most_s})
    it.come(ANNA, symbols_lost=0, chunks_concealed=0)
    for _ in range(80):
        it.here[ANNA]["symbols_lost"] += 9
        it.here[ANNA]["chunks_concealed"] += 1
        it.run(1)
    newest = [message for _, message, _ in it.sent if isinstance(message, Announce)][-1]
    assert newest.buffer_ms == most_s * 1000
    ahead_s = max(m.chunk.play_at - at for at, m in audio(it)[-100:]) / NS_PER_S
    assert most_s - 0.1 <= ahead_s <= most_s


@pytest.mark.parametrize("chunk_s", [0.1, 0.25])
def test_chunk_duration_is_how_long_a_chunk_is(driven, chunk_s):
    it = driven(**{"radio_sync.chunk_duration": chunk_s})
    it.run(2)
    assert {m.chunk.frames for _, m in audio(it)} == {round(chunk_s * 8000)}


@pytest.mark.parametrize("margin_s", [2.0, 7.0])
def test_safety_margin_is_wanted_beyond_the_slowest_s_latency(driven, margin_s):
    it = driven(**{"radio_sync.safety_margin": margin_s})
    it.come(ANNA, rtt_ns=80 * NS_PER_MS)
    it.run(2)
    wanted = [m.required_ms for _, m, _ in it.sent if isinstance(m, Sync)]
    assert wanted[-1] == round(margin_s * 1000) + 80


@pytest.mark.parametrize("samples", [3, 20])
def test_latency_samples_are_what_an_average_is_made_of(driven, samples):
    it = driven(**{"radio_sync.latency_samples": samples})
    it.come(ANNA, rtt_ns=10 * NS_PER_MS)
    it.run(40)
    it.here[ANNA]["rtt_ns"] = 70 * NS_PER_MS
    for _ in range(3):
        it.report(ANNA)
    (row,) = it.session.listeners
    assert row.average_ns == (10 * (samples - 3) + 70 * 3) * NS_PER_MS // samples


@pytest.mark.parametrize("most", [600, 900])
def test_datagram_max_is_the_longest_datagram(driven, most):
    it = driven(**{"network.datagram_max": most})
    it.run(2)
    assert max(len(encode(m)) for _, m in audio(it)) == most


@pytest.mark.parametrize("lead_s", [0.5, 3.0])
def test_start_lead_is_the_time_to_the_first_note(driven, lead_s):
    it = driven(**{"host.start_lead": lead_s})
    began_at = it.now
    it.run(5)
    assert lead_s <= (it.session.transport.newest.effective_at - began_at) / NS_PER_S < lead_s + 0.1


@pytest.mark.parametrize("times", [1.5, 2.0, 8.0])
def test_fill_rate_is_how_fast_buffers_are_filled(driven, times):
    it = driven(**{"host.fill_rate": times, "radio_sync.buffer_duration": 120.0})
    it.run(3)
    first = it.session.sender.next_seq_sent
    it.run(8)
    assert (it.session.sender.next_seq_sent - first) * 0.5 / 8 == pytest.approx(times, rel=0.07)


def repairs_per_s(it, seconds, *asking):
    """Let listeners ask for all they can, each for chunks of its own; return how many symbols a second come of it."""
    it.run(30)
    shown = [it.come(address) for address in asking]
    before = len(audio(it))
    for _ in range(round(seconds / 0.02)):
        newest = it.session.sender.next_seq_sent
        for i, address in enumerate(asking):
            it.lack(address, shown[i], range(newest - 60 + i, newest, len(asking)))
        it.tick()
    return sum(message.repair for _, message in audio(it)[before:]) / seconds


# Budgets are multiples of the stream's rate, and of 200 symbols a second where that is less.
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_repair_share_is_one_listener_s_budget(driven, share):
    it = driven(**{"host.repair_share": share})
    assert repairs_per_s(it, 10, ANNA) == pytest.approx(share * 200, rel=0.05)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_repair_share_total_is_everybody_s_budget(driven, share):
    it = driven(**{"host.repair_share": share, "host.repair_share_total": share})
    assert repairs_per_s(it, 10, ANNA, BERT) == pytest.approx(share * 200, rel=0.05)


@pytest.mark.parametrize("linger_s", [0.0, 8.0])
def test_history_linger_is_how_long_a_chunk_is_kept(driven, linger_s):
    it = driven(**{"host.history_linger": linger_s})
    it.run(20)
    history = it.session.sender.history
    oldest = next(c for c in map(history.get, range(100)) if c is not None)
    ended_s = (it.session.transport.due_frame(it.now) - oldest.end_frame) / 8000
    assert linger_s - 1.0 < ended_s <= linger_s
