"""What is right and wrong with an installation: findings, each about one thing, and none with a secret in it."""

import os
import re
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from chatllm_cli.config.addresses import host_of, is_loopback
from chatllm_cli.config.known_providers import KNOWN, UNKNOWN
from chatllm_cli.config.secrets import SHORTEST_KEY
from chatllm_cli.errors import (
    AuthenticationError,
    ChatllmError,
    ModelNotFoundError,
    ProviderError,
    ProviderUnavailableError,
)
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Endpoint
from chatllm_cli.services.model_lists import in_time
from chatllm_cli.services.redaction import KNOWN_KEY, redacted

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
LONGEST_ANSWER = 15.0  # seconds for a provider to list its models, and for whoever has the key to hand it out
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*[^\s'\"<>.,;:)]")
QUERY = re.compile(r"(?<=\S)\?[^\s,]+")
MAIL_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
SYNCED_PART = re.compile(rf"(?<=/)({'|'.join(SYNCED)})[^/]+(?=/)")
WHOLE_PATH = r"(?=$|[/\s:;,)\]'\"])"


class Verdict(StrEnum):
    """What a finding comes to."""

    OK = "ok"
    HINT = "hint"
    PROBLEM = "problem"


@frozen
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


def problem(about: str, error: ChatllmError, verdict: Verdict = Verdict.PROBLEM) -> Finding:
    """Return what an error says as a finding: without a server's words, and of addresses the host alone."""
    message = error.reason if isinstance(error, ProviderError) and not _is_of_this_machine(error) else error.message
    return Finding(about, verdict, _hosts_alone(message), _hosts_alone(error.hint or ""))


def _is_of_this_machine(error: BaseException) -> bool:
    """Tell whether no server had a word in it: no such host, nothing listens, a bad certificate."""
    below: BaseException | None = error
    while below is not None and not isinstance(below, OSError):
        below = below.__cause__ or below.__context__
        below = below.exceptions[0] if isinstance(below, BaseExceptionGroup) else below
    return below is not None and isinstance(error, ProviderUnavailableError)


def _hosts_alone(text: str) -> str:
    """Return a text with its addresses cut behind the host: names and tokens may stand before and after it."""
    return QUERY.sub("", ADDRESS.sub(_origin, text))


def _origin(address: re.Match[str]) -> str:
    scheme, _, rest = address[0].partition("://")
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:  # of a password with a character that should have been escaped
        return f"{scheme}://…"
    return f"{scheme}://{authority.rpartition('@')[2]}"


def look_at_folders(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Yield a finding on each folder: whether it can be written, by its owner alone."""
    for name, folder in folders.items():
        shown = _shown(folder)
        try:
            mode = stat.S_IMODE(folder.stat().st_mode)
        except FileNotFoundError:
            yield Finding(name, Verdict.OK, f"{shown} is made when it is needed")
        except OSError as error:
            yield Finding(name, Verdict.PROBLEM, f"{shown} cannot be looked at: {error.strerror}")
        else:
            yield _look_at_folder(name, folder, shown, mode)


def _look_at_folder(name: str, folder: Path, shown: str, mode: int) -> Finding:
    if not folder.is_dir():
        return Finding(name, Verdict.PROBLEM, f"{shown} is no folder", "move it away")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding(name, Verdict.PROBLEM, f"{shown} cannot be written", "check who owns it")
    if mode & OWNERS_ALONE:
        return Finding(name, Verdict.HINT, f"{shown} is open to others ({mode:04o})", f"chmod 700 {shown}")
    return Finding(name, Verdict.OK, f"{shown} ({mode:04o})")


def _shown(folder: Path) -> str:
    """Return a path with no more of its last part than the name of the program that syncs it."""
    synced = _synced_by(folder.name)
    return str(folder.with_name(f"{synced}…")) if synced not in {"", folder.name} else str(folder)


def _synced_by(part: str) -> str:
    """Return the name of the program that syncs a folder of this name; whose it is may stand behind it."""
    return next((name for name in SYNCED if part.startswith(name)), "")


def look_at_config_file(file: Path) -> Iterator[Finding]:
    """Yield a hint if others can read the settings; a file that they can change is refused by itself."""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:  # which is told of the settings, too
        return
    if mode & OWNERS_ALONE:
        yield Finding("settings", Verdict.HINT, f"{file} is open to others ({mode:04o})", f"chmod 600 {file}")


def look_at_storage(folder: Path, mounts: str) -> Finding:
    """Return what lies under a folder, by the text of /proc/self/mountinfo: a disk, or what only looks like one."""
    folder = folder.resolve()
    if synced := next(filter(None, map(_synced_by, folder.parts)), ""):
        detail = f"the history lies in a folder that is synced ({synced})"
        return Finding(
            "storage", Verdict.HINT, detail, "`chatllm history merge` brings together what two machines did apart"
        )
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


def look_at_proxy(endpoint: Endpoint, proxy: str | None) -> Finding:
    """Return whether requests to `endpoint` go through a proxy, by the host of it."""
    host = host_of(endpoint.base_url)
    if proxy:
        return Finding("proxy", Verdict.HINT, f"{proxy} is on the way to {host}", "NO_PROXY leaves it out")
    here = ", which is this machine" if is_loopback(endpoint.base_url) else ""
    return Finding("proxy", Verdict.OK, f"none on the way to {host}{here}")


async def look_at_provider(
    endpoint: Endpoint, llm: Models, *, patience: float = LONGEST_ANSWER
) -> AsyncIterator[Finding]:
    """Yield whether a provider can be reached, takes the key, and has the model."""
    name = endpoint.provider
    try:
        models = await in_time(llm.list_models(endpoint), patience)
    except TimeoutError:
        hint = "whoever has the key, a proxy or the server itself may be what hangs"
        yield Finding(
            "provider", Verdict.PROBLEM, f"{name} did not list its models within {patience:g} seconds", hint
        )
    except AuthenticationError as error:
        yield problem("key", error)
    except ModelNotFoundError:  # which is what a 404 is taken for: not every server has such a list
        detail = f"{name} answers at {_hosts_alone(endpoint.base_url)}, but does not list its models"
        yield Finding(
            "provider", Verdict.HINT, detail, "its base_url may be wrong, if it does not answer `ask` either"
        )
    except ChatllmError as error:
        yield problem("provider", error)
    else:
        yield Finding("provider", Verdict.OK, f"{name} answers at {_hosts_alone(endpoint.base_url)}")
        yield _look_at_key(endpoint)
        yield _look_for_model(endpoint, models)


def _look_at_key(endpoint: Endpoint) -> Finding:
    name = endpoint.provider
    if KNOWN.get(name, UNKNOWN).lists_openly:
        return Finding("key", Verdict.OK, f"not tried: {name} shows its models to anybody")
    return Finding(
        "key", Verdict.OK, "taken, or not needed" if is_loopback(endpoint.base_url) else f"{name} takes it"
    )


def _look_for_model(endpoint: Endpoint, models: Sequence[str]) -> Finding:
    if not endpoint.model:
        return Finding("model", Verdict.OK, f"{len(models)} to choose from")
    if endpoint.model in models or f"models/{endpoint.model}" in models:  # as Gemini's are listed
        return Finding("model", Verdict.OK, f"{endpoint.address} is there")
    hint = f"`chatllm models list --provider {endpoint.provider}` shows what there is"
    return Finding("model", Verdict.HINT, f"{endpoint.address} is not in the list of its models", hint)


def for_the_public(finding: Finding, home: Path, secrets: Sequence[str], user: str = "") -> Finding:
    """Return a finding that may be shown to anybody: without secrets, and without whose it was."""

    def masked(text: str) -> str:
        text, _ = redacted(text, frozenset(secrets))
        return _nameless(_without_short_keys(text, secrets), home, user)

    return Finding(finding.about, finding.verdict, masked(finding.detail), masked(finding.hint))


def _without_short_keys(text: str, secrets: Sequence[str]) -> str:
    """Return a text without keys that are too short to be looked for inside of words."""
    for secret in secrets:
        if 0 < len(secret) < SHORTEST_KEY:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", f"[{KNOWN_KEY}]", text)
    return text


def _nameless(text: str, home: Path, user: str) -> str:
    """Return a text without the home folder, the names of folders that are synced, mail addresses and the user."""
    for each in sorted({home, home.resolve()}, key=lambda path: len(path.parts), reverse=True):
        if len(each.parts) > 2 or (user and each.name == user):  # noqa: PLR2004  (any other is not one person's)
            text = re.sub(rf"(?<![\w./~-]){re.escape(str(each))}{WHOLE_PATH}", "~", text)
    text = MAIL_ADDRESS.sub("[mail address]", SYNCED_PART.sub(r"\1…", text))
    return re.sub(rf"(?<=/){re.escape(user)}{WHOLE_PATH}", "[user]", text) if user else text
