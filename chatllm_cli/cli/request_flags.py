"""The options that every command that asks a model has: declared once, and what they come to."""

import functools
import inspect
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import KW_ONLY, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from chatllm_cli.cli.completion import complete_model, complete_path, complete_prompt
from chatllm_cli.cli.options import Profile, check_are_text, check_is_text
from chatllm_cli.config.places import find_places
from chatllm_cli.config.profiles import choose_profile
from chatllm_cli.config.remembering import load_remembered
from chatllm_cli.errors import UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import AS_OFTEN_AS_NEEDED, ChatOptions, TrimMode

if TYPE_CHECKING:
    from chatllm_cli.config.settings import Settings
    from chatllm_cli.services.prompts import FilledPrompt

UNSAID: tuple[object, ...] = (None, [], ())

InsecureHttp = Annotated[
    bool, typer.Option("--insecure-http", help="Send the key over plain http, for anyone on the way to read.")
]


@frozen
class RequestFlags:
    """What was said of a request on the command line; None, or False, was not."""

    _: KW_ONLY
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            metavar="PROVIDER/MODEL",
            help="The model to ask, or its alias. `ask` takes several, and asks them at once.",
            callback=check_are_text,
            autocompletion=complete_model,
        ),
    ] = None
    system: Annotated[
        str | None,
        typer.Option("-s", "--system", metavar="TEXT", help="The standing instruction.", callback=check_is_text),
    ] = None
    file: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="Attach a file, folder, pattern, address, or - for stdin. May be given again.",
            callback=check_are_text,
            autocompletion=complete_path,
        ),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            "-p",
            "--prompt",
            metavar="NAME",
            help="Put what is asked into this prompt; `chatllm prompts list` shows them.",
            callback=check_is_text,
            autocompletion=complete_prompt,
        ),
    ] = None
    var: Annotated[
        list[str] | None,
        typer.Option(
            "-v",
            "--var",
            metavar="NAME=VALUE",
            help="A variable of the prompt. May be given again.",
            callback=check_are_text,
        ),
    ] = None
    temperature: Annotated[float | None, typer.Option(help="How freely words are chosen, 0 to 2.")] = None
    top_p: Annotated[float | None, typer.Option(help="The share of likely words that one is chosen from.")] = None
    max_tokens: Annotated[int | None, typer.Option(help="The longest answer, in tokens.")] = None
    seed: Annotated[int | None, typer.Option(help="A number that makes answers repeat.")] = None
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Ends the answer. May be given again.", callback=check_are_text),
    ] = None
    reasoning_effort: Annotated[
        str | None, typer.Option(metavar="EFFORT", help="How hard to think first: low, medium, high.")
    ] = None
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Another field of the request, as the provider names it. May be given again.",
            callback=check_are_text,
        ),
    ] = None
    fallback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER/MODEL",
            help="Asked when the model cannot be reached, is over its limit or out of quota. May be given again.",
            callback=check_are_text,
            autocompletion=complete_model,
        ),
    ] = None
    max_wait: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long to wait, in all, for a busy provider; 60 unless set, 0 for not at all.",
        ),
    ] = None
    over_budget: Annotated[bool, typer.Option("--over-budget", help="Ask also when a budget is used up.")] = False
    trim: Annotated[
        TrimMode | None,
        typer.Option(
            metavar="never|oldest|summarise",
            help="If the conversation does not fit the model: refuse it, leave out its oldest turns, or sum them up.",
        ),
    ] = None
    cache: Annotated[
        bool | None,
        typer.Option(
            "--cache/--no-cache", help="Give an answer again that was given before; `ask` does at temperature 0."
        ),
    ] = None
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask again what is in the cache, and keep the new answer there.")
    ] = False
    no_history: Annotated[
        bool, typer.Option("--no-history", "--private", help="Keep nothing of this, neither in history nor cache.")
    ] = False
    hide_reasoning: Annotated[
        bool, typer.Option("--hide-reasoning", help="Do not show what the model thinks before it answers.")
    ] = False
    insecure_http: InsecureHttp = False
    profile: Profile = None
    plain: Annotated[bool, typer.Option("--plain", help="Show the answer as plain text.")] = False

    @property
    def one_model(self) -> str | None:
        """The model that is named; None if none is. Raises `UsageError` for several."""
        if len(self.model or ()) > 1:
            raise UsageError("one model at a time: -m is given more than once", hint="`chatllm ask` takes several")
        return self.model[0] if self.model else None

    def with_prompt(self) -> "tuple[RequestFlags, FilledPrompt | None]":
        """Return the prompt that -p names, and these flags with what it says where they say nothing.

        Raises `UsageError`, and `ConfigError` for a prompt that is damaged.
        """
        values = _variables(self.var or [])
        if self.prompt is None:
            if values:
                raise UsageError("-v is for the variables of a prompt", hint="-p names one")
            return self, None
        from chatllm_cli.services.prompts import Prompts  # noqa: PLC0415  (what most runs do without)

        filled = Prompts(find_places().prompts).load(self.prompt).filled(values)
        options = filled.template.options
        told = {
            "model": [filled.template.model] if filled.template.model else None,
            "system": filled.system or None,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "max_tokens": options.max_tokens,
            "seed": options.seed,
            "stop": [*options.stop],
            "reasoning_effort": options.reasoning_effort or None,
        }
        lacking: dict[str, Any] = {name: value for name, value in told.items() if getattr(self, name) in UNSAID}
        option = [*(f"{name}={value}" for name, value in options.extra), *(self.option or ())]
        return replace(self, **lacking, option=option), filled

    def load(self) -> "tuple[Settings, Callable[[], None]]":
        """Load the settings with what was given here on top, and what keeps them, to be called once they did well.

        Raises `ConfigError`, and `UsageError`.
        """
        if self.refresh and self.cache is False:
            raise UsageError("--refresh and --no-cache are not to be had together")
        choose_profile(self.profile)  # given behind the command, which outweighs one given before it
        settings, keep = load_remembered(self._settings(), find_places().remembered_settings)
        return settings, keep if settings.history.enabled else lambda: None

    def load_with(self, changes: Mapping[str, Any]) -> "Settings":
        """Load the settings once more, with changes on top of what was given here. Raises `ConfigError`."""
        from chatllm_cli.config.loading import load_settings  # noqa: PLC0415  (pydantic)

        return load_settings(self._settings() | dict(changes))

    def _settings(self) -> dict[str, Any]:
        """Return what was given here as settings, by dotted key; None was not."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "stop": self.stop or None,
            "reasoning_effort": self.reasoning_effort,
            "options": _parsed(self.option or []) or None,
            "fallback": self.fallback or None,
            "retries.max_wait": self.max_wait,
            "retries.max_retries": None if self.max_wait is None else AS_OFTEN_AS_NEEDED,
            "history.enabled": False if self.no_history else None,
            "output.plain": self.plain or None,
            "output.reasoning": False if self.hide_reasoning else None,
            "insecure_http": self.insecure_http or None,
            "budget.over": self.over_budget or None,
            "trim": self.trim,
            "cache.mode": self._cache_mode(),
        }

    def _cache_mode(self) -> str | None:
        if self.refresh:
            return "refresh"
        return None if self.cache is None else ("always" if self.cache else "never")

    def options(self, schema: str = "") -> ChatOptions:
        """Return what was asked for here, which outweighs what the settings say of any model."""
        return ChatOptions(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            seed=self.seed,
            stop=tuple(self.stop or ()),
            reasoning_effort=self.reasoning_effort or "",
            extra=tuple((name, json.dumps(value)) for name, value in _parsed(self.option or []).items()),
            schema=schema,
        )


def _variables(given: list[str]) -> dict[str, str]:
    """Return the values that NAME=VALUE give."""
    values: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name.strip() and equals):
            raise UsageError(f"'{each}' is no variable: write NAME=VALUE", hint="-v language=French")
        values[name.strip()] = value
    return values


def _parsed(options: list[str]) -> dict[str, Any]:
    """Return the fields that KEY=VALUE describe: a value is JSON, or the text itself."""
    parsed: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (key.strip() and equals):
            raise UsageError(f"'{option}' is no option: write KEY=VALUE", hint="--option top_k=40")
        try:
            parsed[key.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            parsed[key.strip()] = value
    return parsed


def with_request_flags(command: Callable[..., None], *, but: Collection[str] = ()) -> Callable[..., None]:
    """Give a command an option for each field of its parameter `flags`, which then holds what was given.

    Those in `but` make no sense with it. Typer reads the options from the signature.
    """
    shown = [field for field in fields(RequestFlags) if field.name not in but]
    names = [field.name for field in shown]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        flags = RequestFlags(**{name: given.pop(name) for name in names})
        command(flags=flags, **given)

    kinds = get_type_hints(RequestFlags, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=kinds[field.name]
        )
        for field in shown
    ]
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(command).parameters.values()
        if parameter.name != "flags"
    ]
    signature = inspect.Signature([*shared, *own])
    wrapped.__dict__["__signature__"] = signature
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    return wrapped
