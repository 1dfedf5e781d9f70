from hypothesis import given
from hypothesis import strategies as st

from radiosync.clock.exchange import Exchange


@given(
    sent_at=st.integers(-(10**18), 10**18),
    offset=st.integers(-(10**19), 10**19),
    forward=st.integers(0, 10**9),
    turn=st.integers(0, 10**9),
    backward=st.integers(0, 10**9),
)
def test_offset_is_wrong_by_half_the_asymmetry_and_never_by_more_than_half_the_round_trip(
    sent_at, offset, forward, turn, backward
):
    exchange = Exchange(
        sent_at=sent_at,
        host_received_at=sent_at + forward + offset,
        host_sent_at=sent_at + forward + turn + offset,
        received_at=sent_at + forward + turn + backward,
    )
    assert exchange.rtt_ns == forward + backward
    assert exchange.forward_ns == forward + offset
    assert exchange.backward_ns == backward - offset
    assert exchange.offset_ns - offset == (forward - backward) // 2
    assert 2 * abs(exchange.offset_ns - offset) <= exchange.rtt_ns + 1
