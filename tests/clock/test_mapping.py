import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiosync.clock.mapping import ClockMapping

NS = 1_000_000_000


def mapping(**changes):
    base = ClockMapping(
        local_at=86_400 * NS,
        host_at=1_795_000_000_123_456_789,
        skew=37e-6,
        bound_ns=50_000.0,
        sigma_ns=1_000.0,
        skew_bound=1e-6,
        skew_sigma=1e-8,
    )
    return dataclasses.replace(base, **changes)


instants = st.integers(-(10**18), 10**19)
skews = st.floats(-5e-4, 5e-4)
distances = st.integers(-(10**15), 10**15)  # eleven days


@given(local_at=instants, host_at=instants, skew=skews, since=distances)
def test_host_from_local_is_the_line_to_a_nanosecond_at_any_epoch(local_at, host_at, skew, since):
    m = mapping(local_at=local_at, host_at=host_at, skew=skew)
    exact = host_at + since + Fraction(skew) * since
    assert abs(m.host_from_local(local_at + since) - exact) <= Fraction(6, 10)


@given(local_at=instants, host_at=instants, skew=skews, since=distances)
def test_local_from_host_inverts_it(local_at, host_at, skew, since):
    m = mapping(local_at=local_at, host_at=host_at, skew=skew)
    at = local_at + since
    assert abs(m.local_from_host(m.host_from_local(at)) - at) <= 1
    assert abs(m.host_from_local(m.local_from_host(host_at + since)) - host_at - since) <= 1


def test_a_reader_of_a_float_clock_would_be_off():
    m = mapping(skew=0.0)
    at = m.local_at + 1
    assert m.host_from_local(at) == m.host_at + 1
    assert m.local_from_host(m.host_at + 1) == at
    assert int(float(m.host_at + 1)) != m.host_at + 1  # a float of the instant itself loses it


def test_a_fast_host_gains():
    m = mapping(skew=100e-6)
    assert m.host_from_local(m.local_at + 10 * NS) - m.host_at == 10 * NS + 1_000_000
    assert m.offset_ns == m.host_at - m.local_at


def test_bound_and_sigma_grow_with_age():
    m = mapping()
    assert m.bound_ns_at(m.local_at) == 50_000.0
    assert m.sigma_ns_at(m.local_at) == 1_000.0
    assert m.bound_ns_at(m.local_at + 100 * NS) == pytest.approx(50_000 + 100_000 + 25_000)
    assert m.bound_ns_at(m.local_at - 100 * NS) == m.bound_ns_at(m.local_at + 100 * NS)
    assert m.sigma_ns_at(m.local_at + 100 * NS) == pytest.approx((2_000**2 + 5_773.5**2) ** 0.5, rel=1e-3)
    ages = [m.local_at + s * NS for s in (0, 1, 5, 30, 300)]
    for growth in ([m.bound_ns_at(a) for a in ages], [m.sigma_ns_at(a) for a in ages]):
        assert growth == sorted(growth)
        assert len(set(growth)) == len(growth)
