"""Prompts by name: files of the user's, and those that come along."""

from chatllm_cli.services.prompts.service import ListedPrompt, Prompts
from chatllm_cli.services.prompts.template import PromptTemplate

__all__ = ["ListedPrompt", "PromptTemplate", "Prompts"]
