"""Addresses: what one is, and where a tier goes, to the group whose address is so much further on than the stream's."""

from ipaddress import ip_address

Address = tuple[str, int]
"""Of a socket: the machine's, with a scope where it has one, and the port."""


def tier_group(group: str, tier: int) -> str:
    """Return the address of the group for `tier` of the stream on `group`; PROTOCOL.md, Quality.

    A scope ("ff02::1:2%eth0") stays.
    """
    address, percent, scope = group.partition("%")
    raw = bytearray(ip_address(address).packed)
    raw[-1] = (raw[-1] + tier) % 256
    return f"{ip_address(bytes(raw))}{percent}{scope}"


def endpoint(ip: str, port: int) -> str:
    """Return an address and a port as people write them together."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
