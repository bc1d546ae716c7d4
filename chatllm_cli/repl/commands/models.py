"""Who answers, how, and what that takes."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

from chatllm_cli.amounts import dollars
from chatllm_cli.config.addresses import is_loopback
from chatllm_cli.errors import ChatllmError, ConfigError, UsageError
from chatllm_cli.models import Conversation, Role
from chatllm_cli.render.renderer import amount
from chatllm_cli.repl.commands.arguments import words
from chatllm_cli.repl.ports import Candidate, Loop
from chatllm_cli.services.model_lists import in_time

NONE = "-"  # takes away what was set
# What can be changed while a session goes on: the rest is what its connections were made with.
LIVE = ("temperature", "top_p", "max_tokens", "seed", "stop", "reasoning_effort", "trim", "redact", "cache.mode")
LIVE_SECTIONS = ("output.", "retries.", "repl.")
YES_NO = ("true", "false")
LONGEST_LIST = 1.0  # seconds for the list of a server on this machine, while somebody types


async def model(loop: Loop, address: str) -> None:
    """Have another model answer from here on, or say which one does."""
    if address:
        loop.session.choose(address)
    endpoint, *fallbacks = loop.session.endpoints
    others = f"; {', '.join(each.address for each in fallbacks)} if that fails" if fallbacks else ""
    loop.renderer.notice(f"{endpoint.address} answers{others}")


async def system(loop: Loop, text: str) -> None:
    """Give the conversation another standing instruction, or show the one it has."""
    if text:
        await loop.session.instruct("" if text == NONE else text)
    now = loop.session.system_prompt
    loop.renderer.notice(
        f"the system prompt is: {now}" if now else "there is no system prompt; /system TEXT gives one"
    )


async def set_(loop: Loop, argument: str) -> None:
    """Change a setting as long as the session lasts, or show what is set."""
    key, _, value = argument.partition(" ")
    if not key:
        loop.renderer.rows(("setting", "value"), [(each, _shown(loop, each)) for each in live_settings()])
        return
    if key not in live_settings():
        raise UsageError(
            _not_live(key),
            hint=f"/set can change {', '.join(LIVE)}, and what begins with {' or '.join(LIVE_SECTIONS)}",
        )
    if value.strip():
        await _change(loop, key, value.strip())
    loop.renderer.notice(f"{key} is {_shown(loop, key)}")


def _not_live(key: str) -> str:
    other = {"model": "/model", "system_prompt": "/system"}.get(key)
    return f"{key} is changed by {other}" if other else f"'{key}' is no setting that can be changed here"


async def _change(loop: Loop, key: str, text: str) -> None:
    """Take the first reading of a text that the setting can have."""
    from chatllm_cli.config.sources import read_value  # noqa: PLC0415

    refused: ConfigError | None = None
    for reading in [None] if text == NONE else [*read_value(text), text]:
        try:
            return await loop.session.change(key, reading)
        except ConfigError as error:
            error.message = error.message.removeprefix("command line: ")
            refused = refused or error
    raise refused or ConfigError(f"{key}: expected a value")


def live_settings() -> list[str]:
    """Return the keys of the settings that can be changed while a session goes on."""
    from chatllm_cli.config.settings import Settings, all_fields  # noqa: PLC0415  (pydantic)

    return [key for key in all_fields(Settings) if key in LIVE or key.startswith(LIVE_SECTIONS)]


def _shown(loop: Loop, key: str) -> str:
    value: Any = getattr(loop.session.options, key, None)
    if value in {None, "", ()}:
        value = loop.session.services.settings
        for part in key.split("."):
            value = getattr(value, part)
    if isinstance(value, tuple):
        return ", ".join(map(repr, value)) or "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return "not set" if value in {None, ""} else str(value)


async def usage(loop: Loop, _: str) -> None:
    """Show how many tokens the conversation took, model by model."""
    conversation = loop.session.said
    counts: dict[str, Counter[str]] = {}
    for reply in conversation.messages:
        if reply.role is Role.ASSISTANT:
            counted = counts.setdefault(reply.model or "?", Counter())
            counted["answers"] += 1
            counted["in"] += reply.usage.input_tokens if reply.usage else 0
            counted["out"] += reply.usage.output_tokens if reply.usage else 0
    rows = [(name, *(f"{each[figure]:,}" for figure in ("answers", "in", "out"))) for name, each in counts.items()]
    loop.renderer.rows(("model", "answers", "tokens in", "out"), rows)


async def cost(loop: Loop, _: str) -> None:
    """Show what the conversation cost, and what was spent today and this month."""
    session, now = loop.session, datetime.now().astimezone()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    budget, spending = session.services.settings.budget, session.services.spending
    conversation = session.conversation or Conversation("", "", now)
    rows = [("this conversation", amount(conversation.cost, conversation.unpriced))]
    for name, since, limit in (("today", today, budget.day), (f"{now:%B}", today.replace(day=1), budget.month)):
        spent = amount(*await spending.since(since))
        rows.append((name, spent if limit is None else f"{spent} of {dollars(limit)}"))
    loop.renderer.rows(("", "cost"), rows)


async def addresses(loop: Loop, _: str) -> Sequence[Candidate]:
    """Return the models that can be named: aliases, those that run here, and what the providers listed before."""
    services = loop.session.services
    found = [Candidate(name, address) for name, address in services.settings.aliases.items()]
    with suppress(ChatllmError):
        found.append(Candidate(services.providers.local().address, "comes along"))
    found += [Candidate(f"local/{name}", "pulled") for name in services.local_models.names()]
    for provider in services.providers.configured():
        with suppress(ChatllmError):
            found += words(f"{provider}/{each}" for each in await _listed(loop, provider))
    return found


async def _listed(loop: Loop, provider: str) -> Sequence[str]:
    """Return the models of a provider: as it listed them before, and of one on this machine as it does now."""
    services = loop.session.services
    endpoint = services.providers.catalogue(provider)
    if is_loopback(endpoint.base_url) and services.has_llm:
        with suppress(TimeoutError):
            return await in_time(services.model_lists.models_of(endpoint), LONGEST_LIST)
    return await services.model_lists.remembered(endpoint)


async def settings(loop: Loop, argument: str) -> Sequence[Candidate]:
    """Return the settings that can be changed, and behind the name of one what it may be."""
    key, blank, _ = argument.partition(" ")
    if not blank:
        return [Candidate(f"{each} ", _shown(loop, each)) for each in live_settings()]
    return [Candidate(f"{key} {value}") for value in (*_values(key), NONE)]


def _values(key: str) -> Sequence[str]:
    from chatllm_cli.config.settings import Settings, all_fields  # noqa: PLC0415  (pydantic)

    info = all_fields(Settings).get(key)
    kind = info.annotation if info else None
    if get_origin(kind) is Literal:
        return get_args(kind)
    return YES_NO if kind is bool else ()
