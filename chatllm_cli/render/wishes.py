"""What is wanted of an answer besides its text as it streams."""

from pathlib import Path
from typing import Any

from chatllm_cli.errors import ChatllmError
from chatllm_cli.frozen import frozen


@frozen
class Wish:
    """The N-th code block alone, or all; a value that fits a schema; or all of it in a file."""

    block: int | None = None
    all_blocks: bool = False
    file: Path | None = None
    value: Any = None  # set once there is one
    wants_value: bool = False

    @property
    def is_for_the_end(self) -> bool:
        """Whether nothing is shown before the answer is there."""
        return bool(self.block or self.all_blocks or self.file or self.wants_value)


def wanted_blocks(text: str, wish: Wish) -> str:
    """Return the code blocks of an answer that are wanted. Raises `ChatllmError` if they are not there."""
    from chatllm_cli.render.code_blocks import code_blocks  # noqa: PLC0415  (markdown takes 20 ms)

    blocks = code_blocks(text)
    if not blocks:
        raise ChatllmError("there is no code block in the answer", hint="`chatllm history show` shows all of it")
    if wish.all_blocks:
        return "\n".join(blocks)
    if wish.block and wish.block > len(blocks):
        raise ChatllmError(f"there is no code block {wish.block} in the answer: it has {len(blocks)}")
    return blocks[(wish.block or 1) - 1]
