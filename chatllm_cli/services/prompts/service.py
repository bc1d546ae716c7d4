"""Where prompts lie: those that come along, and above them the user's own.

Nothing here reads YAML before a prompt is loaded; the shell's completion asks for the names alone.
"""

import os
import re
import stat
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from chatllm_cli.errors import ChatllmError, ConfigError, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.services.prompts.template import PromptTemplate

SUFFIX = ".md"
SHIPPED = Path(__file__).parent / "shipped"
LONGEST = 64 * 1024  # bytes of one file
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
BYTE_ORDER_MARK = "\ufeff"  # Windows editors begin a file with it
DESCRIPTION = re.compile(rb"^description:[ \t]*['\"]?(.*?)['\"]?[ \t]*$", re.MULTILINE)
GLIMPSE = 2048  # bytes
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@frozen
class ListedPrompt:
    """A prompt as a list shows it: read, or what is wrong with it."""

    name: str
    path: Path
    is_shipped: bool
    template: PromptTemplate | None
    fault: str = ""


class Prompts:
    """The prompts in a folder, which need not exist, and those that come along."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return the names of all prompts."""
        return sorted({*_names_in(self.folder), *_names_in(SHIPPED)})

    def glimpses(self) -> list[tuple[str, str]]:
        """Return all names, each with what seems to be its description: quickly, and without being sure."""
        return [(name, _glimpse(self.find(name) or self.folder)) for name in self.names()]

    def list(self) -> list[ListedPrompt]:
        """Return all prompts; one that is damaged does not hide the others."""
        return [self._listed(name) for name in self.names()]

    def _listed(self, name: str) -> ListedPrompt:
        path = self.find(name) or self.own(name)
        try:
            return ListedPrompt(name, path, path.parent == SHIPPED, self.load(name))
        except ChatllmError as error:
            return ListedPrompt(name, path, path.parent == SHIPPED, None, error.message)

    def load(self, name: str) -> PromptTemplate:
        """Return a prompt. Raises `UsageError` if there is none of that name, and `ConfigError` if it is damaged.

        One of the user's that others can write is, too: it says who is asked, and tells the model what to do.
        """
        path = self._existing(name)
        if path.parent != SHIPPED:
            _check_others_cannot_write(self.folder, "700")
            _check_others_cannot_write(path, "600")
        return read_prompt(path, name)

    def text(self, name: str) -> str:
        """Return a prompt file as it is. Raises as `load` does, but not for what it says."""
        return _decoded(self.bytes(name), self._existing(name))

    def bytes(self, name: str) -> bytes:
        """Return a prompt file as it is, whether it is text or not. Raises as `load` does otherwise."""
        return _read(self._existing(name))

    def find(self, name: str) -> Path | None:
        """Return where a prompt lies: the user's own, else the one that comes along. Raises `UsageError`."""
        return next((path for path in (self.own(name), self.shipped(name)) if _is_there(path)), None)

    def own(self, name: str) -> Path:
        """Return where the user's prompt of that name lies, or would. Raises `UsageError`."""
        return self.folder / f"{check_name(name)}{SUFFIX}"

    def shipped(self, name: str) -> Path:
        """Return where the one that comes along would lie. Raises `UsageError`."""
        return SHIPPED / f"{check_name(name)}{SUFFIX}"

    def check_can_be_removed(self, name: str) -> None:
        """Raise `UsageError` unless there is such a prompt, and it is the user's."""
        if self._existing(name).parent == SHIPPED:
            raise UsageError(
                f"the prompt '{name}' comes along with chatllm and cannot be removed",
                hint=f"`chatllm prompts edit {name}` puts one of your own in its place",
            )

    def remove(self, name: str) -> None:
        """Remove a prompt of the user's. Raises `ChatllmError`."""
        self.check_can_be_removed(name)
        try:
            self.own(name).unlink()
        except OSError as error:
            raise ChatllmError(f"{self.own(name)} cannot be removed: {error.strerror}") from None

    def _existing(self, name: str) -> Path:
        if path := self.find(name):
            return path
        near = get_close_matches(name, self.names(), 1)
        hint = f"did you mean {near[0]}?" if near else "`chatllm prompts list` shows them, `prompts edit` begins one"
        raise UsageError(f"there is no prompt '{name}'", hint=hint)


def check_name(name: str) -> str:
    """Return `name` if a prompt can have it; so nothing leads out of the folder. Raises `UsageError`."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot be the name of a prompt",
            hint="a name is made of letters, digits, '.', '_' and '-', and begins with a letter or a digit",
        )
    return name


def read_prompt(path: Path, name: str) -> PromptTemplate:
    """Return the prompt in a file. Raises `ConfigError` with one line that says where it is wrong."""
    from chatllm_cli.services.prompts.parsing import parse_prompt  # noqa: PLC0415  (PyYAML takes 10 ms)

    text = _decoded(_read(path), path).removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n")
    return parse_prompt(text, name, path)


def _names_in(folder: Path) -> list[str]:
    try:
        found = [path for path in folder.iterdir() if path.suffix == SUFFIX]
    except OSError:
        return []
    return [path.stem for path in found if NAME.fullmatch(path.stem) and not path.is_dir()]


def _is_there(path: Path) -> bool:
    return os.path.lexists(path) and not path.is_dir()  # a link that leads nowhere is to be told of


def _read(path: Path) -> bytes:
    data = _first(path, LONGEST + 1)
    if len(data) > LONGEST:
        raise ConfigError(f"{path} is longer than a prompt may be, {LONGEST // 1024} kB")
    return data


def _check_others_cannot_write(path: Path, mode: str) -> None:
    with suppress(OSError):  # which reading it tells of
        if path.stat().st_mode & OTHERS_WRITE:
            raise ConfigError(f"{path} can be written by others", hint=f"chmod {mode} {path}")


def _first(path: Path, length: int) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for a writer for ever
            raise ConfigError(f"{path} cannot be read: it is no file")
        with path.open("rb") as file:
            return file.read(length)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: it is not UTF-8 (byte {error.start + 1})") from None


def _glimpse(path: Path) -> str:
    try:
        found = DESCRIPTION.search(_first(path, GLIMPSE))
    except ConfigError:
        return ""
    return found[1].decode("utf-8", "replace") if found else ""
