"""What is right and wrong with an installation: findings, each about one thing, and none with a secret in it."""

import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from chatllm_cli.config.addresses import host_of, is_loopback
from chatllm_cli.config.known_providers import KNOWN, UNKNOWN
from chatllm_cli.errors import AuthenticationError, ChatllmError
from chatllm_cli.models import Endpoint
from chatllm_cli.services.redaction import redacted

# File systems on which locks and syncing are not what they are on a disk.
REMOTE = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "9p",
    "ceph",
    "glusterfs",
    "davfs",
    "fuse.sshfs",
    "fuse.rclone",
}
# Folders that a program copies to other machines behind our back.
SYNCED = (
    "Dropbox",
    "OneDrive",
    "Google Drive",
    "GoogleDrive",
    "Nextcloud",
    "ownCloud",
    "Mobile Documents",
    "pCloudDrive",
)
OWNERS_ALONE = 0o077


class Verdict(StrEnum):
    """What a finding comes to."""

    OK = "ok"
    HINT = "hint"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing, and what may help."""

    about: str
    verdict: Verdict
    detail: str
    hint: str = ""


class Models(Protocol):
    """What it needs of `LLMService`."""

    async def list_models(self, endpoint: Endpoint) -> list[str]:
        """Return the ids of the models that the provider offers."""


def problem(about: str, error: ChatllmError) -> Finding:
    """Return what an error says as a finding."""
    return Finding(about, Verdict.PROBLEM, error.message, error.hint or "")


def look_at_folders(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Yield a finding on each folder: whether it can be written, by its owner alone."""
    for name, folder in folders.items():
        try:
            mode = stat.S_IMODE(folder.stat().st_mode)
        except FileNotFoundError:
            yield Finding(name, Verdict.OK, f"{folder} is made when it is needed")
        except OSError as error:
            yield Finding(name, Verdict.PROBLEM, f"{folder} cannot be looked at: {error.strerror}")
        else:
            yield _look_at_folder(name, folder, mode)


def _look_at_folder(name: str, folder: Path, mode: int) -> Finding:
    if not folder.is_dir():
        return Finding(name, Verdict.PROBLEM, f"{folder} is no folder", "move it away")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding(name, Verdict.PROBLEM, f"{folder} cannot be written", "check who owns it")
    if mode & OWNERS_ALONE:
        return Finding(name, Verdict.HINT, f"{folder} is open to others ({mode:04o})", f"chmod 700 {folder}")
    return Finding(name, Verdict.OK, f"{folder} ({mode:04o})")


def look_at_storage(folder: Path, mounts: str) -> Finding:
    """Return what lies under a folder, by the text of /proc/self/mountinfo: a disk, or what only looks like one."""
    folder = folder.resolve()
    for part in folder.parts:
        if part.startswith(SYNCED):
            detail = f"the history lies in a folder that is synced ({part})"
            return Finding("storage", Verdict.HINT, detail, "CHATLLM_HOME moves it; let one machine write at a time")
    kind = _file_system(folder, mounts)
    if kind in REMOTE:
        detail = f"the history lies on a network file system ({kind})"
        return Finding("storage", Verdict.HINT, detail, "locks may not hold there: let one machine write at a time")
    return Finding("storage", Verdict.OK, f"the history lies on this machine ({kind or 'file system unknown'})")


def _file_system(folder: Path, mounts: str) -> str:
    """Return the kind of the file system with the deepest mount point above `folder` (proc(5), mountinfo)."""
    kinds: dict[Path, str] = {}
    for line in mounts.splitlines():
        mounted, _, source = line.partition(" - ")
        fields = mounted.split(" ")
        if len(fields) > 4 and source:  # noqa: PLR2004  (the mount point is the fifth)
            point = fields[4].replace("\\040", " ")
            kinds[Path(point)] = source.split(" ")[0]
    return next((kinds[each] for each in (folder, *folder.parents) if each in kinds), "")


def look_at_proxy(endpoint: Endpoint, proxies: Mapping[str, str], *, bypassed: bool) -> Finding:
    """Return whether requests to `endpoint` go through a proxy; its password is not told."""
    scheme, host = urlsplit(endpoint.base_url).scheme, host_of(endpoint.base_url)
    proxy = proxies.get(scheme) or proxies.get("all")
    if is_loopback(endpoint.base_url):
        return Finding("proxy", Verdict.OK, f"none on the way to {host}, which is this machine")
    if not proxy or bypassed:
        return Finding("proxy", Verdict.OK, f"none on the way to {host}")
    return Finding(
        "proxy", Verdict.HINT, f"{host_of(proxy) or 'one'} is on the way to {host}", "NO_PROXY leaves it out"
    )


async def look_at_provider(endpoint: Endpoint, llm: Models) -> AsyncIterator[Finding]:
    """Yield whether a provider can be reached, takes the key, and has the model."""
    name, known = endpoint.provider, KNOWN.get(endpoint.provider, UNKNOWN)
    try:
        models = await llm.list_models(endpoint)
    except AuthenticationError as error:
        yield problem("key", error)
        return
    except ChatllmError as error:
        yield problem("provider", error)
        return
    yield Finding("provider", Verdict.OK, f"{name} answers at {endpoint.base_url}")
    if known.lists_openly:
        yield Finding("key", Verdict.OK, f"not tried: {name} shows its models to anybody")
    else:
        yield Finding(
            "key", Verdict.OK, f"{name} takes it" if not is_loopback(endpoint.base_url) else "taken, or not needed"
        )
    yield _look_for_model(endpoint, models)


def _look_for_model(endpoint: Endpoint, models: Sequence[str]) -> Finding:
    if not endpoint.model:
        return Finding("model", Verdict.OK, f"{len(models)} to choose from")
    if endpoint.model in models or f"models/{endpoint.model}" in models:  # as Gemini's are listed
        return Finding("model", Verdict.OK, f"{endpoint.address} is there")
    hint = f"`chatllm models list --provider {endpoint.provider}` shows what there is"
    return Finding("model", Verdict.HINT, f"{endpoint.address} is not in the list of its models", hint)


def for_the_public(finding: Finding, home: Path, secrets: Sequence[str]) -> Finding:
    """Return a finding that may be shown to anybody: without secrets, and without whose home it was."""

    def masked(text: str) -> str:
        text, _ = redacted(text, frozenset(secrets))
        return text.replace(str(home), "~") if home != home.parent else text

    return Finding(finding.about, finding.verdict, masked(finding.detail), masked(finding.hint))
