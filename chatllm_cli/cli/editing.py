"""A file of the user's in an editor; what is at fault never takes its place, and is kept."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from chatllm_cli.cli.running import handling
from chatllm_cli.editors import editor_command
from chatllm_cli.errors import ChatllmError, ConfigError, UsageError
from chatllm_cli.render.renderer import Renderer

FOR_THE_EDITOR = (signal.SIGINT, signal.SIGQUIT)  # of the keyboard: it may mean something else by them


def edit_file(path: Path, begun: bytes, before: bytes | None, faults: Callable[[Path], Sequence[str]]) -> None:
    """Edit a copy of `path`, with $VISUAL or $EDITOR, and put it there once it has no `faults`.

    The copy begins as `begun`; `before` is what is at `path` now. Raises `ChatllmError`.
    """
    from chatllm_cli.config.editing import begin_draft, put_draft, remove_draft  # noqa: PLC0415  (pydantic)

    editor, renderer = (
        editor_command(hint=f"set EDITOR, or edit {path} by other means"),
        Renderer(sys.stdout, sys.stderr),
    )
    with _ending_by_signals():
        draft = begin_draft(path, begun)
        with _kept(draft, begun, renderer):
            if is_finished := _is_finished(editor, draft, begun, path, renderer, faults):
                put_draft(path, draft, before=before)
    if not is_finished:
        remove_draft(draft)
    renderer.notice(f"{path} is changed" if is_finished else f"nothing is changed in {path}")


@contextmanager
def _kept(draft: Path, begun: bytes, renderer: Renderer) -> Iterator[None]:
    """Say where the text is, whatever ends this; remove the draft if there is nothing of the user's in it."""
    from chatllm_cli.config.editing import remove_draft  # noqa: PLC0415

    try:
        yield
    except BaseException as error:
        told = f"your text is kept in {draft}"
        if not _is_the_users(draft, begun):
            remove_draft(draft)
        elif isinstance(error, ChatllmError):
            error.hint = told
        else:
            with suppress(OSError):  # the terminal may be gone
                renderer.notice(told)
        raise


def _is_the_users(draft: Path, begun: bytes) -> bool:
    try:
        return draft.read_bytes().strip() not in {begun.strip(), b""}
    except FileNotFoundError:
        return False
    except OSError:
        return True


@contextmanager
def _ending_by_signals() -> Iterator[None]:
    """End by Ctrl-C, TERM and HUP as by any error, so that the draft is told of."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    with handling(end):
        yield


def _is_finished(
    editor: list[str],
    draft: Path,
    begun: bytes,
    path: Path,
    renderer: Renderer,
    faults: Callable[[Path], Sequence[str]],
) -> bool:
    """Have the draft edited until nothing is wrong with it; False if it is left as it was.

    Raises `ChatllmError` if it is not to be used.
    """
    while True:
        _edit(editor, draft)
        if (text := _text(draft)) == begun:
            return False
        is_emptied = begun.strip() and not text.strip()
        if is_emptied and not _is_yes(renderer, f"there is nothing left: empty {path}? [y/N]", default=False):
            raise ConfigError(f"what was edited is empty; {path} is left as it was")
        if not (found := faults(draft)):
            return True
        for fault in found:
            renderer.notice(fault)
        if not _is_yes(renderer, "edit it again? [Y/n]", default=True):
            raise ConfigError(f"{path} is left as it was")


def _text(draft: Path) -> bytes:
    try:
        return draft.read_bytes()
    except OSError as error:
        raise ConfigError(f"what was edited cannot be read: {error.strerror}") from None


def _is_yes(renderer: Renderer, question: str, *, default: bool) -> bool:
    """Ask; no answer at all, as on a pipe or after Ctrl-D, is a no."""
    if not (sys.stdin and sys.stdin.isatty() and renderer.err.is_terminal):
        return False
    renderer.question(question)
    answer = sys.stdin.readline()
    return answer.strip().lower() in {"y", "yes"} or (default and bool(answer) and not answer.strip())


def _edit(editor: list[str], draft: Path) -> None:
    """Run the editor. Raises `ChatllmError` if that fails, or if this was to end meanwhile."""
    ended: list[int] = []
    try:
        with subprocess.Popen([*editor, str(draft)]) as process:  # noqa: S603  (the user's own choice)

            def pass_on(number: int, _frame: object) -> None:
                ended.append(number)
                process.send_signal(number)

            with handling(lambda *_: None, FOR_THE_EDITOR), handling(pass_on, (signal.SIGTERM, signal.SIGHUP)):
                code = process.wait()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"the editor {editor[0]} cannot be started: {why}", hint="EDITOR names one") from None
    if ended:
        raise SystemExit(128 + ended[0])
    if code:
        how = f"failed with exit code {code}" if code > 0 else f"was stopped by signal {-code}"
        raise ChatllmError(f"the editor {editor[0]} {how}; nothing is changed")
