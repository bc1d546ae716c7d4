"""The sections of the settings, and what a value of each kind may be."""

import json
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from chatllm_cli.config.secrets import checked_key
from chatllm_cli.models import AS_OFTEN_AS_NEEDED

RESERVED_PROVIDERS = ("local", "default")  # the embedded model, and the provider that base_url describes


def _taken_apart(url: str) -> tuple[SplitResult, str | None]:
    """Return the parts of an address, and its host; of what is none, empty ones."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a bad port raises only when it is looked at
    except ValueError:
        return urlsplit(""), None
    return parts, host


def _check_base_url(value: str) -> str:
    if not value:
        return value
    parts, host = _taken_apart(value)
    is_clean = value.isprintable() and " " not in value and not parts.query and not parts.fragment
    if parts.scheme not in {"http", "https"} or not host or not is_clean:
        raise ValueError("expected an address such as https://host/v1")
    if "@" in parts.netloc:
        raise ValueError("expected an address without a user name or password in it")
    return value.rstrip("/")


def _check_provider_name(name: str) -> str:
    if name in RESERVED_PROVIDERS or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError("expected a name of letters, digits, _ and -, other than local and default")
    return name


def _check_key(key: SecretStr) -> SecretStr:
    return SecretStr(checked_key(key.get_secret_value()))


def _check_cache_url(url: str) -> str:
    value = url.strip()
    parts, host = _taken_apart(value)
    is_server = value.startswith(("redis://", "rediss://")) and host and re.fullmatch(r"(/\d*)?", parts.path)
    is_socket = value.startswith("unix:///")
    if value and not ((is_server or is_socket) and value.isprintable() and " " not in value):
        raise ValueError("expected an address such as redis://host:6379/0")
    return value


def _check_alias(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError("expected a short name of letters, digits, '.', _ and -")
    return name


def _check_address(address: str) -> str:
    provider, _, model = address.partition("/")
    if not (provider and model):
        raise ValueError('expected a model, such as [prices."openai/gpt-4o-mini"]')
    return address


EXPECTED_MODELS = 'expected models, such as ["openai/gpt-4o-mini", "local/smollm2"]'


def _split(value: object) -> object:
    if isinstance(value, list | tuple):
        return [part for part in value if not isinstance(part, str) or part.strip()]
    if not isinstance(value, str):
        raise ValueError(EXPECTED_MODELS)  # noqa: TRY004  (pydantic wants it so)
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(EXPECTED_MODELS) from None
    return [part.strip() for part in value.split(",") if part.strip()]


def _one_or_several(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.startswith("[") else (value,)
    except (ValueError, RecursionError):
        return (value,)


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    if taken := TAKEN.intersection(options):
        raise ValueError(f"'{min(taken)}' cannot be set as an option: {TAKEN_BECAUSE}")
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("expected values that JSON has") from None
    return options


# What a request says anyway, or what would bring back something else than one answer.
TAKEN = frozenset({
    "model", "messages", "stream", "stream_options", "n",
    "temperature", "max_tokens", "max_completion_tokens", "top_p", "seed", "stop", "reasoning_effort",
})  # fmt: skip
TAKEN_BECAUSE = "the request says it already, or a setting of that name does"

ApiKey = Annotated[SecretStr, AfterValidator(_check_key)]
BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
CacheUrl = Annotated[str, AfterValidator(_check_cache_url)]  # there may be a password in it
Seconds = Annotated[float, Field(gt=0, le=86400)]
Dollars = Annotated[float, Field(ge=0, le=1e6)]
ModelAddress = Annotated[str, AfterValidator(_check_address)]
ProviderName = Annotated[str, AfterValidator(_check_provider_name)]
# Several models: a list; in an environment variable as JSON, or with commas between them.
Models = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Alias = Annotated[str, AfterValidator(_check_alias)]
# One text or several; in an environment variable the text itself, or several as JSON.
Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], NoDecode, BeforeValidator(_one_or_several)]
Options = Annotated[dict[str, Any], AfterValidator(_check_options)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OptionSettings(_Section):
    """What may be asked of every answer; None, or empty, leaves it to the provider."""

    temperature: Annotated[float | None, Field(ge=0, le=2, examples=[0.7])] = None
    """How freely words are chosen, 0 to 2; the provider's own default unless set."""
    top_p: Annotated[float | None, Field(gt=0, le=1, examples=[0.9])] = None
    """The share of likely words that one is chosen from, up to 1; the provider's own default unless set."""
    max_tokens: Annotated[int | None, Field(ge=1, examples=[1000])] = None
    """The longest answer, in tokens; no limit of ours unless set."""
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63, examples=[42])] = None
    """A number that makes answers repeat, as far as the provider can."""
    stop: Texts = ()
    """Texts that end the answer when they come, and are left out of it."""
    reasoning_effort: Annotated[str, Field(pattern=r"^[a-z]*$", max_length=20)] = ""
    """How hard a model is to think before it answers: low, medium, high, or what else the provider knows."""
    options: Options = {}
    """Further fields of the request, as the provider names them."""


class ModelSettings(OptionSettings):
    """What one model is asked with instead of the general options; flags outweigh both."""


class TimeoutSettings(_Section):
    """How long to wait for a provider, in seconds."""

    connect: Seconds = 10.0
    """To reach it."""
    first_token: Seconds = 120.0
    """Until the first piece of the answer."""
    idle: Seconds = 60.0
    """Between two pieces of the answer."""
    total: Annotated[Seconds | None, Field(examples=[600.0])] = None
    """For the whole answer once it is asked for, waits before a retry not counted; no limit unless set."""


class RetrySettings(_Section):
    """What is done about a provider that is busy or cannot be reached, before any of the answer has come."""

    max_retries: Annotated[int, Field(ge=0, le=AS_OFTEN_AS_NEEDED)] = 5
    """How often the request is sent again; --max-wait lets the time alone decide."""
    max_wait: Annotated[float, Field(ge=0, le=86400)] = 60.0
    """Seconds that all waits of one answer may take together; the same as --max-wait."""
    first_delay: Seconds = 0.5
    """Seconds before the first retry, at most, where the provider names no time; doubled for each further one."""
    longest_delay: Seconds = 20.0
    """Seconds that such a wait grows to at most."""


class LimitSettings(_Section):
    """What is taken at most: from a provider, and of what is attached."""

    reply_mb: Annotated[float, Field(gt=0, le=1024)] = 8.0
    """Megabytes of text after which an answer is cut off."""
    attachment_mb: Annotated[float, Field(gt=0, le=1024)] = 10.0
    """Megabytes that one attached file may have, or all that is sent of one folder together."""
    attachments: Annotated[int, Field(ge=1, le=10000)] = 200
    """Files that are taken from one folder, or of one pattern such as src/**/*.py."""


class LocalSettings(_Section):
    """The embedded model, which answers without a key and without a network."""

    model_path: str = ""
    """A GGUF file to run instead of the model that comes along."""
    context_size: Annotated[int, Field(ge=256, le=2**30)] = 8192
    """Tokens that the prompt, the history and the answer may take together."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Processor threads; 0 takes half of the processors."""
    hub_url: str = "https://huggingface.co"
    """Where `models pull` finds what is written hf:ORG/REPO/FILE.gguf."""


class CacheSettings(_Section):
    """Answers kept so that an identical request is not sent, or paid, twice."""

    mode: Literal["auto", "always", "refresh", "never"] = "auto"
    """When it is used: auto (by `ask` at temperature 0), always, refresh (asked anew, and kept) or never."""
    url: CacheUrl = ""
    """A Redis server that several machines share, as redis://host:6379/0 or rediss://…; empty stays on this one."""
    ttl_days: Annotated[float, Field(gt=0, le=36500)] = 30.0
    """Days after which an answer is forgotten."""
    size_mb: Annotated[int, Field(ge=1, le=2**20)] = 256
    """Megabytes on disk above which the oldest answers are forgotten; a Redis server has its own maxmemory."""


class HistorySettings(_Section):
    """What is kept of your conversations."""

    enabled: bool = True
    """Keep every conversation; false is the same as --no-history."""
    titles: Literal["prompt", "model"] = "prompt"
    """Where titles come from: the first line of the first prompt, or (in the chat, meanwhile) the model."""


class BudgetSettings(_Section):
    """What may be spent, in US dollars; at 80 % it is told, and at 100 % nothing is sent that costs something."""

    month: Annotated[Dollars | None, Field(examples=[5.0])] = None
    """In a calendar month; no limit unless set."""
    day: Annotated[Dollars | None, Field(examples=[1.0])] = None
    """In a day; no limit unless set."""
    over: bool = False
    """Ask all the same when it is used up; the same as --over-budget."""


class OutputSettings(_Section):
    """What a terminal shows."""

    plain: bool = False
    """Show answers as plain text instead of rendered markdown; the same as --plain."""
    clean: Literal["auto", "always", "never"] = "auto"
    """What makes control characters visible: auto (a terminal), always (pipes, too), or never (--plain is exact)."""
    theme: Literal["auto", "dark", "light", "none"] = "auto"
    """Colours for a dark or a light background; auto asks COLORFGBG, none does without."""
    code_theme: str = ""
    """A Pygments style for code, such as monokai; empty takes the terminal's own colours."""
    reasoning: bool = True
    """Show what a model thinks aloud, dim, before its answer; false is the same as --hide-reasoning."""
    usage: Literal["auto", "always", "never"] = "auto"
    """When a line on stderr says what an answer took, in tokens and money: auto (on a terminal), always or never."""


class ReplSettings(_Section):
    """How prompts are typed in the chat."""

    editing: Literal["emacs", "vi"] = "emacs"
    """The keys that edit a prompt: emacs or vi."""
    toolbar: bool = True
    """Show beneath the prompt who answers, which conversation this is, and what it has taken."""
    replay: Annotated[int, Field(ge=0, le=1000)] = 2
    """Turns that are shown again when a conversation is gone on with."""


class PrivacySettings(_Section):
    """What leaves this machine besides the request itself: nothing, unless you say so here."""

    tracing: bool = False
    """Let LangSmith tracing send your prompts where the LANGSMITH_ variables say."""


class PriceSettings(_Section):
    """What a model costs, in US dollars per million tokens, and how much it reads; outweighs what is known of it."""

    input: Annotated[Dollars | None, Field(examples=[2.5])] = None
    """What it reads."""
    output: Annotated[Dollars | None, Field(examples=[10.0])] = None
    """What it writes."""
    cached_input: Annotated[Dollars | None, Field(examples=[1.25])] = None
    """What it reads that the provider still has from before; the same as input unless set."""
    context: Annotated[int | None, Field(ge=1, examples=[128000])] = None
    """Tokens that the conversation and the answer may take together."""

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if (self.input is None) != (self.output is None) or (self.input is None and self.cached_input is not None):
            raise ValueError("expected input and output, one with the other: { input = 2.5, output = 10 }")
        return self


class ProviderSettings(_Section):
    """One provider: any service with an OpenAI-compatible API."""

    base_url: BaseUrl = ""
    """Its address, up to and including /v1; a well-known provider has one."""
    api_key: ApiKey = SecretStr("")
    """Its key; empty for a server that asks for none. Better kept by `chatllm keys set NAME`."""
    api_key_cmd: str = ""
    """A command that prints its key, such as pass show openai; it outweighs every other place."""
    max_tokens_field: Literal["", "max_tokens", "max_completion_tokens"] = ""
    """What it calls the limit on an answer; empty takes what is known of it, else max_tokens."""
    end_marker: Literal["", "required", "optional"] = ""
    """Whether an answer that ends without a finish_reason is cut off (required) or may be whole (optional)."""
