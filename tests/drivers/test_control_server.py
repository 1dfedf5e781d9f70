"""The answers by HTTP say all that there is to say."""

from random import Random

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.config import Config
from radiosync.drivers.control_server import ListenerStatus
from radiosync.drivers.controls import listener_values
from radiosync.host.session import HostSession
from radiosync.units import HostNs
from radiosync.wire.codec import encode
from radiosync.wire.messages import ListenerState, Report, Solicit

NOW = HostNs(1_795_000_000_000_000_000)
ANNA = ("10.0.0.1", 5000)


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
    report = Report(
        session=session.session,
        cookie=session._cookies.of(ANNA),
        listener_id=3,
        state=ListenerState.PLAYING,
        tier=2,
        rtt_ns=1_000_000,
        down_ns=0,
        up_ns=0,
        echo_at=HostNs(0),
        echo_held_ns=0,
        ready_frame=None,
        lead_ms=0,
        offset_bound_ns=0,
        sync_error_ns=0,
        rate_ppb=0,
        buffer_ms=0,
        symbols_received=0,
        symbols_lost=0,
        symbols_repaired=0,
        chunks_late=0,
        chunks_concealed=0,
        underruns=0,
        hard_resyncs=0,
        name="anna",
    )
    session.receive_datagram(encode(report), ANNA, NOW)
    (row,) = session.listeners
    values = listener_values(session, row, NOW)
    assert set(values) == set(ListenerStatus.model_fields)
    assert ListenerStatus(**values).tier == 2
