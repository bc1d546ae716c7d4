from chatllm_cli.services.chat.budget import Budget
from chatllm_cli.services.chat.service import ChatService

__all__ = ["Budget", "ChatService"]
