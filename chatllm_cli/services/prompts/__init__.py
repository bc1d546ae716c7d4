"""Prompts by name: files of the user's, and those that come along."""

from chatllm_cli.services.prompts.service import ListedPrompt, Prompts, read_prompt
from chatllm_cli.services.prompts.template import FilledPrompt, PromptTemplate

__all__ = ["FilledPrompt", "ListedPrompt", "PromptTemplate", "Prompts", "read_prompt"]
