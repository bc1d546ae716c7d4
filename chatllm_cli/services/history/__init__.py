from chatllm_cli.services.history.service import HistoryService, Listing, OpenConversation, new_id

__all__ = ["HistoryService", "Listing", "OpenConversation", "new_id"]
