"""What can go wrong, and the exit code each kind ends in.

    ChatllmError                     1
    ├── UsageError                   2   an argument that cannot be used
    │   └── ConversationNotFoundError
    ├── ConfigError                  2   a setting that cannot be used
    ├── ProviderError                5   the provider refused or failed
    │   ├── AuthenticationError      3
    │   ├── RateLimitError           4   too many requests, or the quota is used up
    │   ├── ModelNotFoundError       5
    │   ├── ProviderTimeoutError     5
    │   └── ProviderUnavailableError 5   cannot be reached, or answers with a server error
    ├── IncompleteAnswerError        6   some text came, then it broke off
    └── HistoryError                 8   the history cannot be read or written

A class stands here if it is a kind of its own to whoever catches it or looks for its exit code. The cache
has none: a broken cache is a miss.
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


class UsageError(ChatllmError):
    """An argument or a prompt that cannot be used."""

    exit_code = ExitCode.USAGE


class ConversationNotFoundError(UsageError):
    """No conversation, or more than one, has the address that was given."""


class ConfigError(ChatllmError):
    """A setting that cannot be used; the message names where it stands, its key and what is expected."""

    exit_code = ExitCode.USAGE


class ProviderError(ChatllmError):
    """The provider refused the request, or failed."""

    exit_code = ExitCode.PROVIDER


class AuthenticationError(ProviderError):
    """The key is missing, was rejected, or may not do this."""

    exit_code = ExitCode.AUTHENTICATION


class RateLimitError(ProviderError):
    """Too many requests, or the quota is used up."""

    exit_code = ExitCode.RATE_LIMIT


class ModelNotFoundError(ProviderError):
    """The provider has no such model (or no such address: it answers both with 404)."""


class ProviderTimeoutError(ProviderError):
    """The provider did not answer in time."""


class ProviderUnavailableError(ProviderError):
    """The provider cannot be reached, or answered with a server error."""


class IncompleteAnswerError(ChatllmError):
    """The answer broke off after some of its text had come; `__cause__` is what broke it."""

    exit_code = ExitCode.INCOMPLETE


class HistoryError(ChatllmError):
    """The history cannot be read or written."""

    exit_code = ExitCode.HISTORY
