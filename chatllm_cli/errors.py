"""What can go wrong, and the exit code each kind ends in.

    ChatllmError                     1
    ├── FormatError                  1   a file, or a conversation in it, is not what its format says
    ├── UsageError                   2   an argument that cannot be used
    │   └── ConversationNotFoundError
    ├── ConfigError                  2   a setting that cannot be used
    ├── ProviderError                5   the provider refused or failed
    │   ├── AuthenticationError      3
    │   ├── RateLimitError           4   too many requests for now
    │   │   └── QuotaError           4   what was paid for is used up: waiting does not help
    │   ├── ModelNotFoundError       5
    │   ├── ContextLengthError       5   the conversation is longer than the model can read
    │   ├── ProviderTimeoutError     5
    │   ├── ProviderUnavailableError 5   cannot be reached, or answers with a server error
    │   └── InvalidReplyError        5   what it sent is not a chat completion
    ├── IncompleteAnswerError        6   some text came, then it broke off
    ├── AnswerFormatError            6   the answer is whole, but not of the shape that was asked for
    ├── BudgetError                  7   a budget is used up: nothing was sent
    └── HistoryError                 8   the history cannot be read or written

A class stands here if it is a kind of its own to whoever catches it, looks for its exit code, or reads its name
in the output of `--json`. The cache has none: a broken cache is a miss.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """The process's exit codes; docs/exit-codes.md is held equal to this by a test."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    AUTHENTICATION = 3
    RATE_LIMIT = 4
    PROVIDER = 5
    INCOMPLETE = 6
    BUDGET = 7
    HISTORY = 8
    HANGUP = 129
    INTERRUPT = 130
    PIPE = 141
    TERMINATE = 143


class ChatllmError(Exception):
    """Any failure that was foreseen: one line that begins with what happened, and perhaps a hint."""

    exit_code = ExitCode.FAILURE

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class FormatError(ChatllmError):
    """A file, or a conversation in it, is not what its format says, or is larger than anybody's would be."""


class UsageError(ChatllmError):
    """An argument or a prompt that cannot be used."""

    exit_code = ExitCode.USAGE


class ConversationNotFoundError(UsageError):
    """No conversation, or more than one, has the address that was given."""


class ConfigError(ChatllmError):
    """A setting that cannot be used; the message names where it stands, its key and what is expected."""

    exit_code = ExitCode.USAGE


class ProviderError(ChatllmError):
    """The provider refused the request, or failed.

    `reason` is the message without the server's own `words`. `is_passing` tells whether the same request may
    succeed a little later, `retry_after` how many seconds the provider asks to wait until then.
    """

    exit_code = ExitCode.PROVIDER
    passes_by_itself = False

    def __init__(
        self,
        reason: str,
        *,
        words: str = "",
        hint: str | None = None,
        is_passing: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {words}" if words else reason, hint=hint)
        self.reason = reason
        self.is_passing = self.passes_by_itself if is_passing is None else is_passing
        self.retry_after = retry_after


class AuthenticationError(ProviderError):
    """The key is missing, was rejected, or may not do this."""

    exit_code = ExitCode.AUTHENTICATION


class RateLimitError(ProviderError):
    """Too many requests, or tokens, for now."""

    exit_code = ExitCode.RATE_LIMIT
    passes_by_itself = True


class QuotaError(RateLimitError):
    """What was paid for is used up."""

    passes_by_itself = False


class ModelNotFoundError(ProviderError):
    """The provider has no such model (or no such address: it answers both with 404)."""


class ContextLengthError(ProviderError):
    """The prompt, and what was said before, are longer than the model can read."""


class ProviderTimeoutError(ProviderError):
    """The provider did not answer in time."""


class ProviderUnavailableError(ProviderError):
    """The provider cannot be reached, or answered with a server error."""

    passes_by_itself = True


class InvalidReplyError(ProviderError):
    """What the provider sent is not a chat completion, or more than anybody asked for."""


class IncompleteAnswerError(ChatllmError):
    """The answer broke off after some of its text had come; `__cause__` is what broke it."""

    exit_code = ExitCode.INCOMPLETE


class AnswerFormatError(ChatllmError):
    """The answer is not JSON, or does not fit the schema."""

    exit_code = ExitCode.INCOMPLETE


class BudgetError(ChatllmError):
    """A budget is used up, and the request would have cost something."""

    exit_code = ExitCode.BUDGET


class HistoryError(ChatllmError):
    """The history cannot be read or written."""

    exit_code = ExitCode.HISTORY
