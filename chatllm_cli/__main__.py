"""The console script: nothing may come before the first line of `main`, where Ctrl-C becomes harmless."""

import gc
import os
import signal
import sys

from chatllm_cli import __version__


def main() -> None:
    """Import the program, and run it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in mid-import ends it at once instead of in a traceback
    if sys.argv[1:] == ["--version"] and _told_version():
        return
    gc.disable()  # what is imported stays: looking through it again and again takes a tenth of the start
    from chatllm_cli import quick_imports  # noqa: PLC0415

    quick_imports.install()
    from chatllm_cli.cli.app import main as run  # noqa: PLC0415

    run()


def _told_version() -> bool:
    """Print the version as the program does, without the 60 ms that Typer takes to be imported.

    False if there is anything about stdout that the program has to see to.
    """
    if sys.stdout is None or sys.stdout.encoding != "utf-8":
        return False
    line = f"chatllm {__version__}\n".encode()
    try:
        return os.write(sys.stdout.fileno(), line) == len(line)
    except OSError:
        return False


if __name__ == "__main__":
    main()
