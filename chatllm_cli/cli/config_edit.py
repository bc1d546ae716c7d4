"""`chatllm config edit`: the config file in an editor; what is at fault never takes its place, and is kept."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatllm_cli.config.places import find_places
from chatllm_cli.errors import ChatllmError, ConfigError, UsageError
from chatllm_cli.render.renderer import Renderer

EDITORS = ("sensible-editor", "nano", "vim", "vi")
NAMED_BY = ("VISUAL", "EDITOR")


def edit() -> None:
    """Edit the config file, with $VISUAL or $EDITOR.

    What is wrong with it is told before it takes effect, and never takes the place of what was right.
    """
    from chatllm_cli.config.editing import begin_draft, put_draft  # noqa: PLC0415  (pydantic, which --help does without)
    from chatllm_cli.config.sources import read_config_text  # noqa: PLC0415
    from chatllm_cli.settings_text import example_config  # noqa: PLC0415

    path, editor, renderer = find_places().config_file, _editor(), Renderer(sys.stdout, sys.stderr)
    read = read_config_text(path)
    before = read[0] if read else None
    begun = example_config() if before is None else before
    draft = begin_draft(path, begun)
    if not _is_finished(editor, draft, begun, path, renderer):
        draft.unlink(missing_ok=True)
        renderer.notice(f"nothing is changed in {path}")
        return
    put_draft(path, draft, before=before)
    renderer.notice(f"{path} is changed")


def _is_finished(editor: list[str], draft: Path, begun: str, path: Path, renderer: Renderer) -> bool:
    """Have the draft edited until nothing is wrong with it; False if it is left as it was.

    Raises `ChatllmError` if it is not to be used.
    """
    from chatllm_cli.config.checking import check_file  # noqa: PLC0415

    while True:
        _edit(editor, draft, begun)
        if _text(draft) == begun.encode():
            return False
        if not (faults := check_file(draft, whatever_mode=True)):
            return True
        for fault in faults:
            renderer.notice(str(fault))
        if not _is_to_go_on(renderer):
            raise ConfigError(f"{path} is left as it was", hint=f"your text is kept in {draft}")


def _text(draft: Path) -> bytes:
    try:
        return draft.read_bytes()
    except OSError as error:
        raise ConfigError(f"what was edited cannot be read: {error.strerror}") from None


def _is_to_go_on(renderer: Renderer) -> bool:
    if not (sys.stdin and sys.stdin.isatty() and renderer.err.is_terminal):
        return False
    renderer.question("edit it again? [Y/n]")
    return sys.stdin.readline().strip().lower() in {"", "y", "yes"}


def _editor() -> list[str]:
    """Return the command of the user's editor, or of one that is there. Raises `UsageError`."""
    for name in NAMED_BY:
        if given := os.environ.get(name, "").strip():
            try:
                return shlex.split(given)
            except ValueError:
                raise UsageError(f"environment variable {name} is no command: {given}") from None
    if found := next((command for command in EDITORS if shutil.which(command)), None):
        return [found]
    raise UsageError("there is no editor", hint=f"set EDITOR, or edit {find_places().config_file} by other means")


def _edit(editor: list[str], draft: Path, begun: str) -> None:
    """Run the editor. Raises `ChatllmError` if that fails; what was typed until then is kept."""
    try:
        with _left_to_the_editor():
            code = subprocess.run([*editor, str(draft)], check=False).returncode  # noqa: S603  (the user's own choice)
    except (OSError, ValueError) as error:
        draft.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"the editor {editor[0]} cannot be started: {why}", hint="EDITOR names one") from None
    if code:
        how = f"failed with exit code {code}" if code > 0 else f"was stopped by signal {-code}"
        is_kept = draft.exists() and _text(draft) != begun.encode()
        if not is_kept:
            draft.unlink(missing_ok=True)
        raise ChatllmError(
            f"the editor {editor[0]} {how}; nothing is changed",
            hint=f"your text is kept in {draft}" if is_kept else None,
        )


@contextmanager
def _left_to_the_editor() -> Iterator[None]:
    """Let the editor alone have Ctrl-C: with a handler here, which is not passed on to it, as ignoring would be."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
