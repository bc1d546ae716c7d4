"""Plain data that the services pass to each other: frozen, and without I/O."""

from dataclasses import field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from chatllm_cli.amounts import file_size
from chatllm_cli.frozen import frozen


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Status(StrEnum):
    """How a message ended; only a `COMPLETE` reply is a whole answer."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"  # stopped by the user, or the process died
    TRUNCATED = "truncated"  # the provider cut it at its length limit
    FILTERED = "filtered"  # the provider's content filter stopped it
    ERROR = "error"  # the request failed, before or after some text
    UNKNOWN_END = "unknown_end"  # it ended without saying why


MOST_TOKENS = 2**40  # that one message can have cost: the sum of many still fits into SQLite's integers


@frozen
class TokenUsage:
    """Tokens that one request took in and brought back."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0  # of the input: what the provider still had from before, and asks less for


@frozen
class Attachment:
    """A file, a page or what came on stdin, that goes with a prompt: its text, or the hash of its bytes."""

    name: str  # as a person wrote it: a path, an address, or - for stdin
    media_type: str
    size: int  # bytes of the original
    text: str = ""  # of what can be read as text, what was found in a page or a PDF included
    sha256: str = ""  # of what cannot: an image

    @property
    def told(self) -> str:
        """Its name, and how large it is."""
        kind = f"{self.media_type}, " if self.sha256 else ""
        return f"{self.name} ({kind}{file_size(self.size)})"


@frozen
class Message:
    """One entry of a conversation; `model` and what follows it are set on replies only."""

    id: str
    role: Role
    content: str
    at: datetime
    parent: str | None = None
    status: Status = Status.COMPLETE
    model: str | None = None  # as addressed: provider/model
    usage: TokenUsage | None = None
    finish_reason: str | None = None
    cached: bool = False
    error: str | None = None
    instead_of: str | None = None  # the model that was asked first, if this is a fallback's reply
    reasoning: str = ""  # what the model thought aloud, which is no part of the answer
    continues: str | None = None  # the id of the incomplete reply that this one begins with
    cost: float | None = None  # in US dollars; None if nobody knows the price
    attachments: tuple[Attachment, ...] = ()  # of a prompt

    @property
    def topic(self) -> str:
        """The text that a title can be made of: what was typed, else the name of what was attached."""
        return self.content or next((each.name for each in self.attachments), "")

    @property
    def is_unpriced(self) -> bool:
        """Whether it cost nobody knows what: something came of it, be it only a thought."""
        return (
            self.role is Role.ASSISTANT and self.cost is None and bool(self.content or self.reasoning or self.usage)
        )


@frozen
class Conversation:
    """Messages as a tree by `parent`; `head` names the leaf in use."""

    id: str
    title: str
    created_at: datetime
    model: str = ""
    system_prompt: str = ""
    messages: tuple[Message, ...] = ()
    head: str | None = None
    tags: tuple[str, ...] = ()
    damaged_lines: int = 0
    imported_at: datetime | None = None  # when it came from elsewhere

    @property
    def updated_at(self) -> datetime:
        """When the last message came; a copy of another conversation is as new as itself."""
        return max(self.messages[-1].at, self.created_at) if self.messages else self.created_at

    @property
    def last_model(self) -> str:
        """The model that gave the last answer, or should have, else the one that the conversation began with."""
        answered = (message for message in reversed(self.thread()) if message.model and message.content)
        last = next(answered, None)
        return (last.instead_of or last.model or self.model) if last else self.model

    @property
    def last_text(self) -> str:
        """The text of the last reply; empty if a prompt stands last."""
        last = self.thread()[-1:]
        return last[0].content if last and last[0].role is Role.ASSISTANT else ""

    @property
    def cost(self) -> float:
        """What all replies cost whose price is known, those on other branches included."""
        return sum(message.cost or 0.0 for message in self.messages)

    @property
    def unpriced(self) -> int:
        """How many replies cost nobody knows what."""
        return sum(message.is_unpriced for message in self.messages)

    def thread(self) -> tuple[Message, ...]:
        """Return the messages from the first one down to the head, other branches left out.

        One whose parent is lost stands below the message before it: not all before it is lost, too.
        """
        by_id = {message.id: message for message in self.messages}
        befores = zip(self.messages, ("", *(message.id for message in self.messages)), strict=False)
        above = {
            message.id: message.parent if message.parent is None or message.parent in by_id else before
            for message, before in befores
        }
        thread: list[Message] = []
        current = by_id.pop(self.head or "", None)
        while current is not None:
            thread.append(current)
            current = by_id.pop(above[current.id] or "", None)  # once each: a damaged file may hold a cycle
        return tuple(reversed(thread))

    def aside(self) -> tuple[Message, ...]:
        """Return the messages on other branches, but for incomplete replies that one of the thread goes on with."""
        others = {message.id: message for message in self.messages}
        for message in self.thread():
            current = others.pop(message.id, None)
            while current is not None and current.continues:
                current = others.pop(current.continues, None)
        return tuple(others.values())

    def newest_below(self, message_id: str) -> str:
        """Return the id of the leaf that was reached last below a message: its own, if nothing is."""
        below = {message.parent: message.id for message in self.messages}  # of siblings the last one
        leaf = message_id
        while leaf in below:
            leaf = below.pop(leaf)
        return leaf

    def find(self, message_id: str) -> Message | None:
        """Return the message with an id, or with an id that begins so if there is no other."""
        found = [message for message in self.messages if message.id.startswith(message_id)] if message_id else []
        found = [message for message in found if message.id == message_id] or found  # m1 beside m10
        return found[0] if len(found) == 1 else None


@frozen
class Summary:
    """A conversation as a list shows it."""

    id: str
    address: str  # the shortest beginning of the id that names no other conversation
    title: str
    model: str
    created_at: datetime
    updated_at: datetime
    messages: int
    input_tokens: int
    output_tokens: int
    tags: tuple[str, ...] = ()
    place: int | None = None  # N of its @N, where the list is in that order
    cost: float = 0.0  # in US dollars, of the replies whose price is known
    unpriced: int = 0  # replies whose price is not

    @property
    def tokens(self) -> int:
        """Tokens in and out, together."""
        return self.input_tokens + self.output_tokens


@frozen
class Hit:
    """A message that a search found: the piece of its text around the find, in parts that are finds or not."""

    conversation: str
    address: str
    title: str
    message: str
    role: str
    model: str
    at: datetime
    snippet: tuple[tuple[str, bool], ...]


@frozen
class Tally:
    """How much was said, of one model, provider, day or month."""

    name: str
    conversations: int
    messages: int  # replies
    input_tokens: int
    output_tokens: int
    cost: float = 0.0  # in US dollars, of the replies whose price is known
    unpriced: int = 0  # replies whose price is not

    @property
    def tokens(self) -> int:
        """Tokens in and out, together."""
        return self.input_tokens + self.output_tokens


@frozen
class Filter:
    """Which conversations, or messages, are wanted; what is not set is not looked at."""

    since: datetime | None = None
    until: datetime | None = None
    model: str | None = None  # as part of the address
    tag: str | None = None
    role: str | None = None


@frozen
class ChatOptions:
    """What may be asked of the reply; None, or empty, leaves it to the provider."""

    temperature: float | None = None
    max_tokens: int | None = None
    schema: str = ""  # a JSON Schema that the reply has to fit, as JSON
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str = ""
    extra: tuple[tuple[str, str], ...] = ()  # further fields of the request, each with its value as JSON

    def over(self, general: "ChatOptions") -> "ChatOptions":
        """Return these options, and where they say nothing, those of `general`."""
        given = {
            field.name: value for field in fields(self) if (value := getattr(self, field.name)) not in {None, "", ()}
        }
        if self.extra and general.extra:
            given["extra"] = tuple({**dict(general.extra), **dict(self.extra)}.items())
        return replace(general, **given)


@frozen
class Endpoint:
    """Where a model is reached: everything a request needs to know of its provider."""

    provider: str
    model: str
    base_url: str  # empty for the embedded model, which gets one when it starts
    api_key: str | None = field(default=None, repr=False)
    max_tokens_field: str = "max_tokens"  # what this provider calls the limit on the reply
    seed_field: str = "seed"  # and the number that makes replies repeat
    marks_end: bool = False  # whether this provider always says why a reply ended
    takes_schema: bool = False  # whether it can hold the model to a JSON Schema
    takes_usage_wish: bool = True  # whether it may be asked for token counts
    headers: tuple[tuple[str, str], ...] = ()  # that it wants besides the usual ones
    key_header: str = "Authorization"
    has_key_command: bool = False  # whether a command prints its key, which may ask a person first
    weights: str = ""  # embedded model only: what tells these weights from others
    context_length: int | None = None  # embedded model only: how many tokens it was made to read
    options: ChatOptions = ChatOptions()  # what the settings ask of this model

    @property
    def is_embedded(self) -> bool:
        """Whether the model runs in this process."""
        return bool(self.weights)

    @property
    def address(self) -> str:
        """The words a person writes to get this model."""
        return f"{self.provider}/{self.model}"


TrimMode = Literal["never", "oldest", "summarise"]
Content = str | tuple[str | Attachment, ...]  # of a message that is sent: a text, or texts and images in their order


@frozen
class ChatRequest:
    """One request for a completion."""

    endpoint: Endpoint
    messages: tuple[tuple[Role, Content], ...]
    options: ChatOptions = ChatOptions()
    trim: TrimMode = "never"  # what may be done to the messages if they do not fit


@frozen
class Chunk:
    """One piece of a completion as it streams; the last ones carry how it ended and what it cost."""

    text: str = ""
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    reasoning: str = ""  # what the model thinks aloud, which is no part of the answer

    @property
    def size(self) -> int:
        """How many bytes came on; some servers send empty pieces for ever."""
        return len((self.text + self.reasoning).encode("utf-8", "surrogatepass"))


@frozen
class Completion:
    """What one request brought back."""

    text: str
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    reasoning: str = ""  # what the model thought aloud


@frozen
class Bill:
    """What a turn took, and its conversation so far."""

    usage: TokenUsage | None
    cost: float | None  # in US dollars; None if nobody knows the price
    conversation_cost: float  # of the replies whose price is known
    unpriced: int  # replies of the conversation whose price is not
    window: int | None  # tokens that the model reads at most, if that is known
    cached: bool = False

    @property
    def context(self) -> float | None:
        """How much of the window the conversation takes, from 0 to 1."""
        if not self.usage or not self.window:
            return None
        return (self.usage.input_tokens + self.usage.output_tokens) / self.window


@frozen
class BudgetUse:
    """How much of a budget is spent, in US dollars."""

    period: str  # as a person says it: November, today
    spent: float
    limit: float
    unpriced: int = 0  # replies that cost nobody knows what, which is not in what was spent

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left of it; a sum of many amounts may be off by a hair."""
        return self.spent >= self.limit - 1e-9


@frozen
class Trimmed:
    """The oldest messages of a conversation, which are not in the request."""

    messages: int
    tokens: int  # about
    is_summed_up: bool = False


AS_OFTEN_AS_NEEDED = 1000  # retries: more than any wait allows


@frozen
class RetryWait:
    """A wait before a request is sent again."""

    reason: str
    retry: int  # 1 for the first
    max_retries: int
    seconds_left: float


def told_size(size: int) -> str:
    """Return a number of bytes as people say it."""
    megabytes = size / 1e6
    return f"{megabytes / 1000:.2f} GB" if megabytes >= 1000 else f"{megabytes:.{1 if megabytes < 10 else 0}f} MB"  # noqa: PLR2004
