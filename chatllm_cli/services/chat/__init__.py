from chatllm_cli.services.chat.service import ChatService

__all__ = ["ChatService"]
