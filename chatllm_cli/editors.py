"""Which editor a person uses."""

import os
import shlex
import shutil

from chatllm_cli.errors import UsageError

NAMED_BY = ("VISUAL", "EDITOR")
EDITORS = ("sensible-editor", "nano", "vim", "vi", "emacs")  # where neither names one


def editor_command(*, hint: str = "set EDITOR") -> list[str]:
    """Return the command of the user's editor, or of one that is there. Raises `UsageError`."""
    for name in NAMED_BY:
        if given := os.environ.get(name, "").strip():
            try:
                return shlex.split(given)
            except ValueError:
                raise UsageError(f"environment variable {name} is no command: {given}") from None
    if found := next((command for command in EDITORS if shutil.which(command)), None):
        return [found]
    raise UsageError("there is no editor", hint=hint)
