"""A prompt in the user's own editor."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document

from chatllm_cli.editors import editor_command
from chatllm_cli.errors import ChatllmError, UsageError
from chatllm_cli.private_files import replace_private_file


async def edit(buffer: Buffer, tell: Callable[[ChatllmError], None]) -> None:
    """Put into the line what becomes of it in the editor; what it was is recalled by Up. Tells what goes wrong."""

    def work() -> str | None:
        try:
            return edited(buffer.text)
        except ChatllmError as error:
            tell(error)
        return None

    text = await run_in_terminal(work, in_executor=True)
    if text is not None and text != buffer.text:
        buffer.append_to_history()
        buffer.document = Document(text)


def edited(text: str) -> str:
    """Return what becomes of a text in the editor, without the line break at its end. Raises `UsageError`.

    It lies in a folder for its owner alone, which is gone afterwards along with all that the editor left there.
    """
    editor = editor_command()
    try:
        with tempfile.TemporaryDirectory(prefix="chatllm.") as folder:
            draft = Path(folder) / "prompt.md"
            replace_private_file(draft, text.encode("utf-8", "replace"))
            code = subprocess.run([*editor, str(draft)], check=False).returncode  # noqa: S603  (the user's own choice)
            if code:
                raise UsageError(f"the editor {editor[0]} ended with exit code {code}; the prompt is as it was")
            return draft.read_bytes().decode("utf-8", "replace").removesuffix("\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"the editor {editor[0]} cannot be used: {why}", hint="EDITOR names one") from None
