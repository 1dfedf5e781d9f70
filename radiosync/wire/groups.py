"""Where a tier goes: to the group whose address is so much further on than the stream's."""

from ipaddress import ip_address


def tier_group(group: str, tier: int) -> str:
    """Return the address of the group for `tier` of the stream on `group`; PROTOCOL.md, Quality."""
    raw = bytearray(ip_address(group).packed)
    raw[-1] = (raw[-1] + tier) % 256
    return str(ip_address(bytes(raw)))
