"""Which network addresses a client's word may make the service connect to."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Final

from xaiserve.errors import InvalidInputError, StoreUnavailableError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], Sequence[str]]
"""Finds the addresses of a host."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA: Final = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254")))
"""Where clouds hand out credentials; never a source, not even a private one."""


def look_up(host: str, port: int) -> list[str]:
    """Ask the system's resolver.

    Raises
    ------
    StoreUnavailableError
        It knows no such host.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise StoreUnavailableError(f"host {host} cannot be found") from error
    return [str(where[0]).partition("%")[0] for *_, where in found]


def choose(host: str, port: int, *, is_private: bool, look_up: LookUp = look_up) -> str:
    """Look a host up once and return the address to connect to.

    All its addresses must be allowed: of a name with one good and one bad address, a second look-up
    could give the other.

    Parameters
    ----------
    is_private
        Whether the operator has said that this host has a private address.

    Raises
    ------
    InvalidInputError
        It has an address that is none of the public network. Which, is not told.
    StoreUnavailableError
        There is no such host.
    """
    found = look_up(host, port)
    if not found:
        raise StoreUnavailableError(f"host {host} cannot be found")
    for text in found:
        address = _plain(ipaddress.ip_address(text))
        if not (_is_inside(address) if is_private else _is_public(address)):
            raise InvalidInputError(f"host {host} has an address that is not fetched from")
    return found[0]


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it stands for one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast


def _is_inside(address: Address) -> bool:
    ours = address.is_loopback or address.is_link_local or address.is_unspecified
    return not (ours or address.is_multicast or address in _METADATA)
