"""Exchanges as columns: the newest of them, in order, exactly."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiosync.clock.envelope import lowest
from radiosync.clock.exchange import Exchange
from radiosync.clock.history import History, columns_of, delays_of
from radiosync.units import HostNs, LocalNs


def an_exchange(sent_at: int, out_ns: int = 1000, back_ns: int = 2000, offset_ns: int = 10**18) -> Exchange:
    return Exchange(
        sent_at=LocalNs(sent_at),
        host_received_at=HostNs(sent_at + out_ns + offset_ns),
        host_sent_at=HostNs(sent_at + out_ns + offset_ns + 10),
        received_at=LocalNs(sent_at + out_ns + 10 + back_ns),
    )


@given(st.integers(1, 7), st.lists(st.one_of(st.integers(0, 50), st.just("drop"))))
def test_it_holds_the_newest_as_a_bounded_deque_does(capacity: int, steps: list[int | str]) -> None:
    history, plain = History(capacity), deque[Exchange](maxlen=capacity)
    now = 0
    for step in steps:
        if step == "drop":
            history.drop_before(LocalNs(now))
            while plain and plain[0].received_at < now:
                plain.popleft()
            continue
        now += int(step)
        assert history.add(an_exchange(now)) == (len(plain) == capacity)
        plain.append(an_exchange(now))
    assert len(history) == len(plain)
    assert np.array_equal(history.columns, columns_of(list(plain)))


def test_replacing_keeps_the_newest_that_fit() -> None:
    history = History(3)
    columns = columns_of([an_exchange(i) for i in range(5)])
    history.replace(columns)
    assert np.array_equal(history.columns, columns[:, 2:])
    history.replace(columns[:, :0])
    assert len(history) == 0


def test_what_came_back_before_an_instant() -> None:
    history = History(8)
    for i in range(5):
        history.add(an_exchange(i * 100, out_ns=1, back_ns=1))
    assert history.before(LocalNs(212)).shape[1] == 2
    assert history.before(LocalNs(213)).shape[1] == 3


def test_nothing_is_lost_of_instants_that_no_float_can_hold() -> None:
    exchange = an_exchange(2**60 + 1, out_ns=3, back_ns=5, offset_ns=2**61)
    delays = delays_of(columns_of([exchange]), LocalNs(2**60), 2**61)
    assert (delays.forward_ns[0], delays.backward_ns[0]) == (3.0, 5.0)
    assert delays.forward_s[0] == pytest.approx(1e-9)


@given(st.lists(st.tuples(st.floats(-100, 0), st.floats(0, 1e6)), min_size=1, max_size=60), st.data())
def test_the_points_that_are_kept_give_the_floor_at_every_slope_between(
    points: list[tuple[float, float]], data: st.DataObject
) -> None:
    times, values = np.array(points).T
    low = data.draw(st.floats(-1e4, 1e4))
    high = data.draw(st.floats(low, 1e4))
    kept_times, kept_values = lowest(times, values, low, high)
    for slope in np.linspace(low, high, 7):
        assert (kept_values - slope * kept_times).min() == pytest.approx((values - slope * times).min(), abs=1e-6)


def test_where_the_slope_is_known_few_points_are_kept() -> None:
    rng = np.random.default_rng(1)
    times, values = -np.arange(200.0), rng.uniform(0, 1e4, 200)
    assert len(lowest(times, values, -1.0, 1.0)[0]) < 20
