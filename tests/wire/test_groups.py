import pytest

from radiosync.wire.groups import tier_group


@pytest.mark.parametrize(
    ("group", "tier", "expected"),
    [
        ("239.255.77.77", 0, "239.255.77.77"),
        ("239.255.77.77", 3, "239.255.77.80"),
        ("239.255.77.254", 3, "239.255.77.1"),
        ("ff15::7a", 2, "ff15::7c"),
    ],
)
def test_a_tiers_group_is_so_much_further_on(group, tier, expected):
    assert tier_group(group, tier) == expected
