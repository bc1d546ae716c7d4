"""What an address says of where it leads."""

from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_loopback(base_url: str) -> bool:
    """Tell whether `base_url` stays on this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_encrypted(base_url: str) -> bool:
    """Tell whether what goes to `base_url` is encrypted on its way."""
    return urlsplit(base_url).scheme == "https"


def host_of(base_url: str) -> str:
    """Return the host that `base_url` leads to, with the port unless it is the usual one."""
    parts = urlsplit(base_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return host if parts.port in {None, DEFAULT_PORTS.get(parts.scheme)} else f"{host}:{parts.port}"


def origin_of(base_url: str) -> str:
    """Return who a key is for that is for `base_url`: its scheme and host; empty if that is no address."""
    try:
        return f"{urlsplit(base_url).scheme}://{host_of(base_url)}" if base_url else ""
    except ValueError:
        return ""


def is_readable_on_the_way(base_url: str) -> bool:
    """Tell whether others could read what is sent there: plain http that leaves this machine."""
    return urlsplit(base_url).scheme == "http" and not is_loopback(base_url)


def passwords_in(url: str) -> list[str]:
    """Return the passwords that an address has in it, or in its options, as they are and as they are spelled."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    spelled = parts.password or ""
    options = [value for name, values in parse_qs(parts.query).items() for value in values if "pass" in name.lower()]
    return list(dict.fromkeys(each for each in (spelled, unquote(spelled), *options) if each))


def shown_address(url: str) -> str:
    """Return an address without user name, password and options, each of which may be secret."""
    scheme, mark, rest = url.partition("://")
    rest = rest.partition("?")[0]
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
