"""What a reply costs inside of one process: `python -P stream_probe.py WAY URL MODEL MESSAGES` prints seconds of CPU.

WAY is `ours` (`LLMService.stream`) or `plain` (`ChatOpenAI.astream` as it comes). It runs on the environment that is
measured, which knows nothing of `bench`, and asks once before it measures: imports and connections do not count.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from chatllm_cli.config.sections import LimitSettings, LocalSettings, TimeoutSettings
from chatllm_cli.models import ChatOptions, ChatRequest, Endpoint, Role
from chatllm_cli.services.llm import LLMService
from chatllm_cli.services.local.engine import LocalModel

WARM = "tokens-100"
WORDS = "some words that were said before, and are sent again with each request that follows"


async def ours(base_url: str, model: str, messages: int) -> AsyncIterator[object]:
    """Yield what our service gives."""
    roles = [Role.USER, Role.ASSISTANT]
    said = tuple((roles[number % 2], WORDS) for number in range(messages))
    service = LLMService(LocalModel(LocalSettings()), TimeoutSettings(), LimitSettings())
    for each in (WARM, model):
        begin = time.process_time()
        request = ChatRequest(Endpoint("default", each, base_url, api_key="x"), said, ChatOptions())
        async for chunk in service.stream(request):
            yield chunk
        yield time.process_time() - begin


async def plain(base_url: str, model: str, messages: int) -> AsyncIterator[object]:
    """Yield what LangChain gives when it is used as its documentation does."""
    said = [(["user", "assistant"][number % 2], WORDS) for number in range(messages)]
    for each in (WARM, model):
        chat = ChatOpenAI(model=each, base_url=base_url, api_key=SecretStr("x"), stream_usage=True)
        begin = time.process_time()
        async for chunk in chat.astream(said):
            yield chunk
        yield time.process_time() - begin


async def main() -> None:
    """Measure, and print it."""
    way, base_url, model, messages = sys.argv[1:]
    seconds: object = None
    async for each in {"ours": ours, "plain": plain}[way](base_url, model, int(messages)):
        seconds = each
    print(seconds)


if __name__ == "__main__":
    asyncio.run(main())
