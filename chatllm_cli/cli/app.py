"""The Typer app, and the one place where errors become exit codes."""

import errno
import os
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from chatllm_cli import __version__
from chatllm_cli.cli.completion import complete_profile
from chatllm_cli.cli.late_commands import announced_commands, build_command
from chatllm_cli.cli.options import JSON_WANTED, PROFILE_WANTED, check_is_text
from chatllm_cli.cli.parameters import quicken
from chatllm_cli.config.profiles import choose_profile
from chatllm_cli.errors import ChatllmError, ExitCode, UsageError

SHELL_ASKS = "_CHATLLM_COMPLETE"
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # services map their own: here it was stdout

# A process that was stopped by a signal dies by it, so that a shell loop around it stops too.
SIGNALS = {
    ExitCode.HANGUP: signal.SIGHUP,
    ExitCode.INTERRUPT: signal.SIGINT,
    ExitCode.PIPE: signal.SIGPIPE,
    ExitCode.TERMINATE: signal.SIGTERM,
}


class ErrorBoundary(TyperGroup):
    """Shows a failure in one line and ends with its exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update(announced_commands())

    def _main_shell_completion(self, *_: Any, **__: Any) -> None:
        """Answer the shell, if it is the one that asks."""
        if asked := os.environ.get(SHELL_ASKS):
            from chatllm_cli.cli.shells import answer  # noqa: PLC0415  (only the shell asks)

            print(answer(self, asked), end="")  # noqa: T201  (this is the answer)
            raise SystemExit(0)

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Begin a run."""
        quicken(self)
        return super().make_context(*arguments, **more)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, and build it; whoever types a question where one belongs is told how it is asked."""
        try:
            name, found, rest = super().resolve_command(ctx, args)
        except Exception as error:
            if hasattr(error, "message") and " " in args[0].strip():
                error.message += ' Did you mean chatllm ask "…"?'
            raise
        if name is not None:  # as it may be while a line is completed
            found = build_command(name)
            quicken(found)
        return name, found, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; nothing but an exit leaves here, except under --debug."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(ExitCode.PIPE) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPT) from None
        except Exception as error:
            as_json = ctx.meta.get(JSON_WANTED, False)
            if type(error).__module__.startswith("typer"):  # exits and usage errors, which Typer shows itself
                if hasattr(error, "message"):
                    error.message = str(error.message).removeprefix("Value error, ")  # pydantic's words
                if as_json and hasattr(error, "format_message"):
                    raise typer.Exit(_show(UsageError(error.format_message()), as_json=True)) from None
                raise
            if ctx.params.get("debug"):
                _show_traceback()
            raise typer.Exit(_show(error, as_json=as_json)) from None


def _show_traceback() -> None:
    import traceback  # noqa: PLC0415  (5 ms that a good run saves)

    from chatllm_cli.cli.running import keys_seen  # noqa: PLC0415
    from chatllm_cli.config.loading import known_secrets  # noqa: PLC0415
    from chatllm_cli.render.clean import clean  # noqa: PLC0415

    text = traceback.format_exc()
    for secret in {*known_secrets(), *keys_seen}:
        text = text.replace(secret, "********")
    with suppress(OSError):
        sys.stderr.write(clean(text))


def _show(error: Exception, *, as_json: bool = False) -> int:
    from chatllm_cli.render.json_renderer import open_renderer  # noqa: PLC0415  (rich takes 20 ms that a good run saves)

    if isinstance(error, OSError) and error.errno in NO_ROOM:
        error = ChatllmError(f"the output could not be written: {error.strerror}")
    if not isinstance(error, ChatllmError):
        message = f"internal error: {type(error).__name__}: {error}"
        error = ChatllmError(message, hint="`chatllm --debug …` shows where; please report it")
    open_renderer(sys.stdout, sys.stderr, as_json=as_json).error(error)
    return error.exit_code


# Plain help and usage errors: typer's boxes cost 70 ms, and say in six lines what fits in three.
app = typer.Typer(
    name="chatllm",
    cls=ErrorBoundary,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # they would show locals, and those hold keys
    add_completion=False,  # ours is in shells.py, which says why
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"chatllm {__version__}")  # noqa: T201  (this is the answer)
        raise typer.Exit


def _show_completion(wanted: bool) -> None:
    if wanted:
        from chatllm_cli.cli.shells import SCRIPTS, shell_in_use  # noqa: PLC0415

        print(SCRIPTS[shell_in_use()], end="")  # noqa: T201  (this is the answer)
        raise typer.Exit


def _install_completion(wanted: bool) -> None:
    if wanted:
        from chatllm_cli.cli.shells import install, shell_in_use  # noqa: PLC0415

        shell = shell_in_use()
        print(f"{shell} completes what is typed after chatllm, once it is started again: {install(shell)}")  # noqa: T201
        raise typer.Exit


def _choose_profile(ctx: typer.Context, name: str | None) -> str | None:
    ctx.meta[PROFILE_WANTED] = name
    choose_profile(check_is_text(name))
    return name


@app.callback()
def chatllm(
    version: Annotated[  # its callback does the work
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
    debug: Annotated[  # read by the error boundary
        bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")
    ] = False,
    profile: Annotated[  # its callback does the work
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            callback=_choose_profile,
            autocompletion=complete_profile,
            help="Take the settings of this profile, too.",
        ),
    ] = None,
    install_completion: Annotated[  # their callbacks do the work
        bool,
        typer.Option(
            "--install-completion",
            callback=_install_completion,
            is_eager=True,
            help="Let this shell complete commands.",
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion",
            callback=_show_completion,
            is_eager=True,
            help="Show the script that would be installed.",
        ),
    ] = False,
) -> None:
    """Chat with language models in the terminal, and keep every word."""


def main() -> NoReturn:
    """Run the command line."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries speak to developers there, of what a server sent
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell's >&-
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  (it lives as long as the process)
        getattr(sys, name).reconfigure(errors="backslashreplace")  # half a surrogate pair must not cost the answer
    try:
        app()
        code = 0
    except OSError as error:  # --help and --version are written before there is a command to run
        code = _show(error)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Flush, and end with `code` or by the signal it stands for.

    All else was written and synced by whoever owns it. The interpreter's own farewell is skipped: it takes
    0.2 s, and may wait for ever for the embedded model (see `services.local.engine`).
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = code or ExitCode.PIPE
        except OSError as error:
            code = code or _show(error)
    if code in SIGNALS:
        signal.signal(SIGNALS[ExitCode(code)], signal.SIG_DFL)
        os.kill(os.getpid(), SIGNALS[ExitCode(code)])
    os._exit(code)
