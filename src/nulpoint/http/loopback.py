"""Which hosts are this machine alone."""

from ipaddress import IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """An address of this machine alone, or its name."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
