from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiosync.audio.format import CHANNELS_MAX, RATE_MAX, RATE_MIN, AudioFormat, SampleFormat
from radiosync.host.packetizer import Packetizer, chunk_frames
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_S, ns_from_frames
from radiosync.wire.codec import AUDIO_OVERHEAD, DATAGRAM_MAX, decode, encode
from radiosync.wire.messages import SYMBOLS_MAX, Audio


@pytest.fixture
def timeline(kit):
    return Timeline(version=1, epoch=4, state=PlayState.PLAYING, media_frame=0, effective_at=kit.NOW)


def packetize(packetizer, coded, timeline, now, ahead_ns):
    """Make the next chunk, to be heard when `timeline` says."""
    play_at = timeline.play_at(packetizer.next_frame, 8_000)
    return packetizer.packetize(coded, timeline.epoch, play_at, now, ahead_ns)


def test_chunks_follow_each_other_without_a_gap(kit, timeline):
    packetizer = Packetizer(DATAGRAM_MAX)
    lengths = [800, 800, 17, 1, 800, 799]
    chunks = [packetize(packetizer, kit.coded(n), timeline, kit.NOW, 0) for n in lengths]
    assert [chunk.header.seq for chunk in chunks] == list(range(6))
    for before, after in pairwise(chunks):
        assert after.header.first_frame == before.header.first_frame + before.header.frames
        length = ns_from_frames(after.header.first_frame, 8_000) - ns_from_frames(before.header.first_frame, 8_000)
        assert after.header.play_at - before.header.play_at == length
    assert packetizer.next_frame == sum(lengths)


def test_a_chunk_says_where_it_belongs(kit, timeline):
    packetizer = Packetizer(DATAGRAM_MAX)
    packetize(packetizer, kit.coded(), timeline, kit.NOW, 0)
    coded = kit.coded(song_id=9, song_frame=4_000, data=bytes(range(250)) * 10)
    header = packetize(packetizer, coded, timeline, kit.NOW + 5, 1_234_567_890).header
    assert (header.epoch, header.song_id, header.song_frame, header.stamped_at) == (4, 9, 4_000, kit.NOW + 5)
    assert header.buffer_position_ms == 1234
    assert (header.coded_bytes, header.symbol_bytes, header.symbols) == (2_500, 1_090, 3)
    assert header.play_at == kit.NOW + NS_PER_S // 10


@given(data=st.binary(min_size=1, max_size=5000), datagram_max=st.integers(548, 1200))
def test_every_symbol_fits_its_datagram_and_is_accepted(kit, data, datagram_max):
    timeline = Timeline(version=1, epoch=1, state=PlayState.PLAYING, media_frame=0, effective_at=kit.NOW)
    chunk = packetize(Packetizer(datagram_max), kit.coded(data=data), timeline, kit.NOW, 0)
    assert b"".join(chunk.symbols) == data
    for index, symbol in enumerate(chunk.symbols):
        audio = Audio(session=1, timeline=timeline, chunk=chunk.header, index=index, repair=False, payload=symbol)
        raw = encode(audio)
        assert len(raw) <= datagram_max
        assert decode(raw) == audio


def test_a_hole_is_left_where_the_source_was_late(kit, timeline):
    packetizer = Packetizer(DATAGRAM_MAX)
    packetize(packetizer, kit.coded(), timeline, kit.NOW, 0)
    packetizer.skip_to(2_000)
    packetizer.skip_to(900)  # never back
    header = packetize(packetizer, kit.coded(), timeline, kit.NOW, 0).header
    assert (header.seq, header.first_frame) == (1, 2_000)
    assert header.play_at == kit.NOW + NS_PER_S // 4


def test_the_numbers_of_what_nobody_has_seen_are_used_again(kit, timeline):
    packetizer = Packetizer(DATAGRAM_MAX)
    chunks = [packetize(packetizer, kit.coded(n), timeline, kit.NOW, 0) for n in (800, 17, 800)]
    packetizer.rewind(chunks[1])
    again = packetize(packetizer, kit.coded(5), timeline, kit.NOW, 0).header
    assert (again.seq, again.first_frame) == (1, 800)
    assert (packetizer.next_seq, packetizer.next_frame) == (2, 805)


def test_the_largest_format_is_cut_to_what_the_symbols_hold():
    audio = AudioFormat(192_000, 8, SampleFormat.S32)
    frames = chunk_frames(audio, NS_PER_S // 2, DATAGRAM_MAX)
    payload = DATAGRAM_MAX - AUDIO_OVERHEAD
    assert SYMBOLS_MAX * payload - audio.frame_bytes < frames * audio.frame_bytes <= SYMBOLS_MAX * payload
    assert frames == 6_540  # 34 ms


def test_an_ordinary_format_gets_what_was_asked_for():
    assert chunk_frames(AudioFormat(44_100, 2, SampleFormat.S16), NS_PER_S // 2, DATAGRAM_MAX) == 22_050
    assert chunk_frames(AudioFormat(48_000, 2, SampleFormat.S24), NS_PER_S // 50, DATAGRAM_MAX) == 960


@given(
    rate=st.integers(RATE_MIN, RATE_MAX),
    channels=st.integers(1, CHANNELS_MAX),
    sample=st.sampled_from(SampleFormat),
    chunk_ns=st.integers(1, 2 * NS_PER_S),
    datagram_max=st.integers(548, 1200),
)
def test_no_format_needs_too_many_symbols(rate, channels, sample, chunk_ns, datagram_max):
    audio = AudioFormat(rate, channels, sample)
    frames = chunk_frames(audio, chunk_ns, datagram_max)
    assert frames >= 1
    assert -(-frames * audio.frame_bytes // (datagram_max - AUDIO_OVERHEAD)) <= SYMBOLS_MAX
    assert frames == 1 or ns_from_frames(frames, rate) <= chunk_ns + NS_PER_S // rate
