"""The clipboard: the system's own, and over ssh, or where there is none, the terminal's by OSC 52."""

import base64
import os
import subprocess

from chatllm_cli.errors import ChatllmError, UsageError
from chatllm_cli.render.renderer import Renderer

MOST_BY_TERMINAL = 74_994  # bytes: what xterm takes; others take more
REMOTE = ("SSH_CONNECTION", "SSH_TTY")
LONGEST_WAIT = 5.0  # seconds for tmux
IMAGES = (  # what prints the picture on the clipboard
    ("wl-paste", "--type", "image/png"),
    ("xclip", "-selection", "clipboard", "-target", "image/png", "-out"),
    ("pngpaste", "-"),
)
PNG = b"\x89PNG\r\n"


def copy(text: str, renderer: Renderer) -> str:
    """Put `text` on the clipboard, and say on which. Raises `ChatllmError` if there is none that takes it."""
    if not any(os.environ.get(name) for name in REMOTE) and _copied_by_system(text):
        return "the system's clipboard"
    data = text.encode("utf-8", "replace")
    if os.environ.get("TMUX") and _copied_by_tmux(data):
        return "tmux's clipboard, and the terminal's"
    if not renderer.out.can_paint:
        raise ChatllmError("there is no clipboard here, and the terminal has none either", hint="/save FILE")
    if len(data) > MOST_BY_TERMINAL:
        raise ChatllmError(
            f"it is too large for the terminal's clipboard: {len(data):,} bytes, of which it takes "
            f"{MOST_BY_TERMINAL:,}",
            hint="/save FILE writes it into a file",
        )
    renderer.put(f"\x1b]52;c;{base64.b64encode(data).decode()}\x07")
    return "the terminal's clipboard, if it allows that"


def paste() -> str:
    """Return the text on the system's clipboard. Raises `ChatllmError` if it cannot be read."""
    import pyperclip  # noqa: PLC0415  (for who pastes)

    try:
        return str(pyperclip.paste())
    except (pyperclip.PyperclipException, OSError, ValueError):  # none, or what is there is no text
        raise UsageError(
            "the clipboard cannot be read here", hint="paste with the terminal's own key: it is one message"
        ) from None


def image() -> bytes | None:
    """Return the picture on the system's clipboard, as PNG; None if there is none."""
    for command in IMAGES:
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=LONGEST_WAIT)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.stdout.startswith(PNG):
            return done.stdout
    return None


def _copied_by_system(text: str) -> bool:
    import pyperclip  # noqa: PLC0415  (for who copies)

    try:
        pyperclip.copy(text)
        return bool(pyperclip.paste()) or not text  # it does not say whether its program failed
    except (pyperclip.PyperclipException, OSError, ValueError):
        return False


def _copied_by_tmux(data: bytes) -> bool:
    """Hand it to tmux, which passes it on to the terminal outside."""
    command = ("tmux", "load-buffer", "-w", "-")
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=LONGEST_WAIT)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return not done.returncode
