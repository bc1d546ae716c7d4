"""What the cache needs of the place where its entries lie, be it a folder or a server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

# Seconds that a turn waits for a store, each time; it comes to it twice, to look and to keep.
LONGEST_WAIT = 0.4
MOST = 1e15  # that anything can have been counted


class ForeignRowError(ValueError):
    """A row that is not ours: it is not read, and says nothing of the other rows."""


class StoreError(Exception):
    """A store cannot be used now; the text says why."""


def sane(counted: Mapping[Any, Any]) -> dict[str, float]:
    """Return what was counted, without what cannot have been: others may have written it."""
    return {
        name: amount
        for name, amount in counted.items()
        if isinstance(name, str) and type(amount) in {int, float} and 0 <= amount <= MOST
    }


class Store(Protocol):
    """Keeps bytes by key for a while, and counts.

    `get`, `put` and `count` take `LONGEST_WAIT` at most. All but `aclose` raise `StoreError`, and nothing else.
    """

    @property
    def where(self) -> str:
        """Where it lies, as a person may see it."""

    @property
    def is_shared(self) -> bool:
        """Whether others use it, too; whoever set it up wants to hear if it fails."""

    async def get(self, key: str) -> bytes | None:
        """Return what lies under a key, unless it is too old."""

    async def put(self, key: str, data: bytes, *, seconds: float, conversation: str) -> None:
        """Keep `data` for so long, or until its conversation is forgotten; where there are none, nothing."""

    async def forget(self, conversations: Sequence[str]) -> None:
        """Drop what belongs to these conversations, without a trace."""

    async def remove(self, is_doomed: Callable[[bytes], bool] | None = None) -> int:
        """Drop every entry, or those that are doomed, without a trace, and return how many those were."""

    async def size(self) -> tuple[int, int]:
        """Return how many entries there are, and how many bytes they take."""

    async def count(self, amounts: Mapping[str, float]) -> None:
        """Add these amounts to what was counted before, by name."""

    async def counts(self) -> dict[str, float]:
        """Return what was counted."""

    async def aclose(self) -> None:
        """Close what is open."""


class MissingStore:
    """Stands for a store that somebody set up, and whose software is not installed."""

    is_shared = True

    def __init__(self, where: str, fault: str) -> None:
        self.where = where
        self._fault = fault

    async def _fail(self, *_: Any, **__: Any) -> NoReturn:
        raise StoreError(self._fault)

    get = put = forget = remove = size = count = counts = _fail

    async def aclose(self) -> None:
        """Close nothing."""
