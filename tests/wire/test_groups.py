import pytest

from radiosync.wire.groups import endpoint, tier_group


@pytest.mark.parametrize(
    ("group", "tier", "expected"),
    [
        ("239.255.77.77", 0, "239.255.77.77"),
        ("239.255.77.77", 3, "239.255.77.80"),
        ("239.255.77.254", 3, "239.255.77.1"),
        ("ff15::7a", 2, "ff15::7c"),
        ("ff15::52ff", 3, "ff15::5202"),
        ("ff02::5253%eth0", 7, "ff02::525a%eth0"),
    ],
)
def test_a_tiers_group_is_so_much_further_on(group, tier, expected):
    assert tier_group(group, tier) == expected


def test_an_address_and_a_port_can_be_told_apart():
    assert endpoint("239.255.77.77", 45450) == "239.255.77.77:45450"
    assert endpoint("ff02::5253%eth0", 45450) == "[ff02::5253%eth0]:45450"
