"""The only package that knows LangChain and OpenAI. Its import takes most of a second: `bootstrap` waits with it."""

from chatllm_cli.services.llm.service import LLMService

__all__ = ["LLMService"]
