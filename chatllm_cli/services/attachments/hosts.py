"""Which addresses of the web are asked: none of cloud metadata, and after a redirect none but public ones."""

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from chatllm_cli.config.addresses import is_loopback, shown_address
from chatllm_cli.errors import UsageError
from chatllm_cli.frozen import frozen

Address = IPv4Address | IPv6Address

TRANSLATED = ip_network("64:ff9b::/96")  # IPv4 addresses, as networks of IPv6 alone spell them
METADATA = {ip_address("fd00:ec2::254"), ip_address("100.100.100.200")}  # besides those that are link-local


@frozen
class Place:
    """An address of the web, and where it was found to lie: whoever connects does so there, and looks up nothing."""

    url: str
    addresses: tuple[Address, ...]
    fault: OSError | None = None  # why no address was found


async def look_up(url: str, first: Place | None) -> Place:
    """Return where an address lies that a person wrote, or that `first`, which they wrote, redirects to.

    Raises `UsageError` if it is not to be asked, and UnicodeError for what no name server can be asked. What a proxy
    makes of a name is not known here.
    """
    place = await _found(url)
    if first:
        for address in place.addresses:
            _check_redirect(first, _meant(address))
    for address in map(_meant, place.addresses):
        if address.is_link_local:
            raise UsageError(
                f"{shown_address(url)} is not read: its address is link-local, as those of cloud metadata are"
            )
        if address in METADATA:
            raise UsageError(f"{shown_address(url)} is not read: its address is one of cloud metadata")
    return place


def is_this_machine(url: str) -> bool:
    """Tell whether an address names this machine, as a person does who means a server of theirs."""
    return is_loopback(url) or urlsplit(url).hostname in {"0.0.0.0", "::"}  # noqa: S104  (nothing listens there)


def _check_redirect(first: Place, address: Address) -> None:
    """Raise `UsageError` unless it is public, or the very one inside that the person wrote."""
    if address.is_link_local or address in METADATA:
        return  # which has words of its own
    if address.is_loopback or address.is_unspecified:
        if not is_this_machine(first.url):
            raise UsageError(f"{shown_address(first.url)} redirects to this machine, which is not followed")
    elif not address.is_global:
        meant = [_meant(each) for each in first.addresses]
        if address not in meant or any(each.is_global for each in meant):
            raise UsageError(
                f"{shown_address(first.url)} redirects to {address}, which is no public address and is not followed",
                hint="name the page itself",
            )


async def _found(url: str) -> Place:
    """Return where a host lies, as far as a name server here knows: a proxy may know more. Raises UnicodeError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    try:
        return Place(url, (ip_address(host),))
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port or 443, proto=6)
    except OSError as error:
        return Place(url, (), error)
    return Place(url, tuple(dict.fromkeys(ip_address(str(each[4][0])) for each in found)))


def _meant(address: Address) -> Address:
    """Return the IPv4 address that one of IPv6 stands for, if it stands for one."""
    if isinstance(address, IPv4Address):
        return address
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
