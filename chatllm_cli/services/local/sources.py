"""What a person writes to get a model, and where that lies: a name of the catalogue, `hf:ORG/REPO/FILE`, or a URL."""

import hashlib
import re
from urllib.parse import quote, unquote, urlsplit

from chatllm_cli.config.addresses import is_loopback
from chatllm_cli.errors import ConfigError, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.services.local.catalogue import find_entry
from chatllm_cli.services.local.pulled import SUFFIX, check_name

HUB = "hf:"
HUB_PATH = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)+\.gguf", re.ASCII | re.IGNORECASE)
ONE_OF_SEVERAL = re.compile(r"-\d{5}-of-\d{5}$")
LONGEST_NAME = 100


@frozen
class Source:
    """A file to fetch, the name it gets, and how it is told of: a query may hold a signature, and is left out."""

    name: str
    url: str
    told: str

    @property
    def address_sha256(self) -> str:
        """What tells this address, query and all, from others, and may be kept. A file is the same on any hub."""
        return hashlib.sha256(f"{self.told}?{urlsplit(self.url).query}".encode()).hexdigest()


def find_source(wanted: str, hub_url: str, name: str | None = None) -> Source:
    """Return where what is `wanted` lies. Raises `UsageError`, or `ConfigError` for a hub that cannot be one."""
    if entry := find_entry(wanted):
        path = f"{entry.repository}/{entry.file}"
        return Source(check_name(name or entry.name), _on_hub(hub_url, path), f"{HUB}{path}")
    if wanted.startswith(HUB):
        path = wanted.removeprefix(HUB)
        if not HUB_PATH.fullmatch(path) or ".." in path:
            raise UsageError(f"'{wanted}' is no file on the hub", hint="write hf:ORG/REPO/FILE.gguf")
        return Source(_name_of(path, name), _on_hub(hub_url, path), wanted)
    if "://" not in wanted:
        raise UsageError(
            f"there is no model '{wanted}' in the catalogue",
            hint="`chatllm models catalogue` shows it; else write hf:ORG/REPO/FILE.gguf, or a URL",
        )
    if fault := fault_of_url(wanted):
        raise UsageError(f"'{without_query(wanted)}' cannot be fetched: {fault}")
    if wanted.startswith(f"{hub_url.rstrip('/')}/"):
        wanted = wanted.replace("/blob/", "/resolve/", 1)  # the page about a file, which is what a browser shows
    return Source(_name_of(urlsplit(wanted).path, name), wanted, without_query(wanted))


def fault_of_url(url: str) -> str | None:
    """Return why nothing is fetched from `url`, or None: only https, or what stays on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a bad port raises only when it is looked at
    except ValueError:
        return "it is no address"
    if not host or not (url.isascii() and url.isprintable()) or " " in url:
        return "it is no address"
    if "@" in parts.netloc:
        return "there is a user name or a password in it"
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        return "it is not https"
    return None


def without_query(url: str) -> str:
    """Return an address as it may be shown: without what can be a secret in it."""
    head, at, tail = url.partition("?")[0].partition("#")[0].rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else tail


def _on_hub(hub_url: str, path: str) -> str:
    if fault := fault_of_url(hub_url):
        raise ConfigError(
            f"local.hub_url: {without_query(hub_url)} cannot be used: {fault}",
            hint="expected an address such as https://huggingface.co",
        )
    organisation, repository, file = path.split("/", 2)
    return f"{hub_url.rstrip('/')}/{organisation}/{repository}/resolve/main/{quote(file)}"


def _name_of(path: str, name: str | None) -> str:
    """Return the name that is wished for, or the one that a file's own name makes."""
    stem = re.sub(r"\.gguf$", "", unquote(path).rsplit("/", 1)[-1], flags=re.IGNORECASE)
    if ONE_OF_SEVERAL.search(stem):
        raise UsageError("this file is one of several that make a model together", hint="pull one that is whole")
    if name is not None:
        return check_name(name.removesuffix(SUFFIX))
    made = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("._-")[:LONGEST_NAME]
    if not made:
        raise UsageError("the address has no file name that a model could get", hint="give one with --name")
    return check_name(made)
