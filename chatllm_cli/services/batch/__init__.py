"""Many prompts, each asked by itself: read as they come, several at once, and what came of each put down."""

from chatllm_cli.services.batch.items import BadLine, Item, Items, Kind
from chatllm_cli.services.batch.lines import count_lines, lines
from chatllm_cli.services.batch.results import Results
from chatllm_cli.services.batch.service import Answers, Batch, Outcome

__all__ = ["Answers", "BadLine", "Batch", "Item", "Items", "Kind", "Outcome", "Results", "count_lines", "lines"]
