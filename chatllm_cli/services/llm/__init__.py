"""The only package that knows LangChain and OpenAI. Its import is slow: `bootstrap` waits with it."""

from chatllm_cli.services.llm import deferral

deferral.install()  # before the first of them is imported

from chatllm_cli.services.llm.service import LLMService  # noqa: E402

__all__ = ["LLMService"]
