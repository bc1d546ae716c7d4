from chatllm_cli.services.history.aside import Aside
from chatllm_cli.services.history.open_conversation import OpenConversation
from chatllm_cli.services.history.search import Query
from chatllm_cli.services.history.service import HistoryService, Listing

__all__ = ["Aside", "HistoryService", "Listing", "OpenConversation", "Query"]
