"""The answers by HTTP say all that there is to say."""

from dataclasses import replace
from pathlib import Path
from random import Random

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.config import Config
from radiosync.drivers.control_server import ListenerStatus
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
    report = replace(decode(GOLDEN), session=session.session, cookie=session._cookies.of(ANNA))
    session.receive_datagram(encode(report), ANNA, NOW)
    (row,) = session.listeners
    values = listener_values(session, row, NOW)
    assert set(values) == set(ListenerStatus.model_fields)
    assert ListenerStatus(**values).tier == 2
