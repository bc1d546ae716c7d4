"""The console script: nothing may come before the first line of `main`, where Ctrl-C becomes harmless."""

import gc
import signal


def main() -> None:
    """Import the program, and run it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in mid-import ends it at once instead of in a traceback
    gc.disable()  # what is imported stays: looking through it again and again takes a tenth of the start
    from chatllm_cli.cli.app import main as run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
