"""The composition root: settings in, services out, each built on first use.

The imports inside the functions are the point of this file: a command pays for what it uses. LangChain and
OpenAI take nearly half a second to import, diskcache 16 ms, aiofiles 50 ms (asyncio included).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from chatllm_cli.background_imports import import_in_background
from chatllm_cli.config.places import Places
from chatllm_cli.models import ChatRequest, Chunk, Conversation, Endpoint

if TYPE_CHECKING:
    from chatllm_cli.config.settings import Settings
    from chatllm_cli.services.attachments.reading import Attachments
    from chatllm_cli.services.attachments.store import AttachmentStore
    from chatllm_cli.services.batch.gate import Gate
    from chatllm_cli.services.cache import ResponseCache, Store
    from chatllm_cli.services.chat import ChatService
    from chatllm_cli.services.chat.ports import ChatModel
    from chatllm_cli.services.exporting import Exporter
    from chatllm_cli.services.history import HistoryService, OpenConversation
    from chatllm_cli.services.imports import Imports
    from chatllm_cli.services.input_history import InputHistory
    from chatllm_cli.services.keys import KeyFile, Keys, StoredKeys
    from chatllm_cli.services.local.downloads import Downloads
    from chatllm_cli.services.local.pulled import PulledModels
    from chatllm_cli.services.model_lists import ModelLists
    from chatllm_cli.services.prices import Prices
    from chatllm_cli.services.providers import Providers
    from chatllm_cli.services.redaction import PromptGuard
    from chatllm_cli.services.spending import Spending


LAG_OF_A_BATCH = 0.1  # seconds: nobody reads along, and pieces that are taken together take less


class LanguageModel(Protocol):
    """What the program needs of `LLMService`; a fake one stands in for the network in tests."""

    async def ready(self, endpoint: Endpoint) -> None:
        """Get ready to ask: start the embedded model, if it is the one."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Yield the completion piece by piece."""

    async def list_models(self, endpoint: Endpoint) -> list[str]:
        """Return the ids of the models that the provider offers."""

    async def aclose(self) -> None:
        """Close the connections."""


class Services:
    """The services of one run."""

    def __init__(
        self,
        settings: "Settings | None",
        places: Places,
        *,
        llm: LanguageModel | None = None,
        progress: Callable[[int, int], None] | None = None,
        on_key: Callable[[str], object] = lambda _: None,
    ) -> None:
        if settings is not None:
            self.settings = settings
        self._places = places
        self._llm = llm
        self._gate: Gate | None = None  # that requests of a batch go through
        self._on_key = on_key
        self._known_keys: set[str] = set()
        self._progress = progress  # of indexing: files done, files in all

    @cached_property
    def settings(self) -> "Settings":
        """The settings of this run."""
        from chatllm_cli.config.loading import load_settings

        return load_settings()

    @cached_property
    def history(self) -> "HistoryService":
        """The stored conversations."""
        from chatllm_cli.services.history import HistoryService

        places = self._places
        return HistoryService(places.conversations, places.index, self._progress, self._attachment_store)

    def imports(self, *, dry_run: bool, restore: bool) -> "Imports":
        """Return what takes in conversations from elsewhere; see `Intake`."""
        from chatllm_cli.services.imports import Imports

        return Imports(self.history.intake(dry_run=dry_run, restore=restore))

    @cached_property
    def _attachment_store(self) -> "AttachmentStore":
        from chatllm_cli.services.attachments.store import AttachmentStore

        return AttachmentStore(self._places.attachments)

    @cached_property
    def attachments(self) -> "Attachments":
        """What reads files, folders and pages that go with a prompt."""
        from chatllm_cli.services.attachments.reading import Attachments

        return Attachments(self._attachment_store, self.settings.limits, self.settings.timeouts)

    @cached_property
    def providers(self) -> "Providers":
        """The providers that the settings know."""
        from chatllm_cli.services.providers import Providers

        return Providers(self.settings, self._stored_keys, self.local_models)

    @cached_property
    def local_models(self) -> "PulledModels":
        """The models that were pulled."""
        from chatllm_cli.services.local.pulled import PulledModels

        return PulledModels(self._places.models)

    @cached_property
    def downloads(self) -> "Downloads":
        """What fetches models."""
        from chatllm_cli.services.local.downloads import Downloads

        return Downloads(self.local_models, self.settings.timeouts, self.settings.retries)

    @cached_property
    def input_history(self) -> "InputHistory":
        """What was typed in the REPL."""
        from chatllm_cli.services.input_history import InputHistory

        return InputHistory(self._places.input_history)

    @cached_property
    def _key_file(self) -> "KeyFile":
        from chatllm_cli.services.keys import KeyFile

        return KeyFile(self._places.keys)

    @cached_property
    def _stored_keys(self) -> "StoredKeys":
        return self._key_file.read()

    @cached_property
    def keys(self) -> "Keys":
        """The keys of the providers."""
        from chatllm_cli.config.remembering import key_origins
        from chatllm_cli.services.keys import Keys

        return Keys(
            self._key_file,
            self.providers,
            origins=key_origins(self.settings),
            insecure_http=self.settings.insecure_http,
            on_key=self._take_key,
        )

    def _take_key(self, key: str) -> None:
        self._known_keys.add(key)
        self._on_key(key)

    @cached_property
    def prices(self) -> "Prices":
        """What models cost, and how much they read."""
        from chatllm_cli.services.prices import Prices

        return Prices(self.settings.prices, local_window=self.settings.local.context_size)

    @cached_property
    def cache(self) -> "ResponseCache":
        """The answers that were given before."""
        from chatllm_cli.services.cache import ResponseCache
        from chatllm_cli.services.local.hashes import WeightsHashes

        hashes = WeightsHashes(self._places.cache / "weights.json")
        settings, folder = self.settings.cache, self._places.responses
        stores: list[Store] = [_redis_store(settings.url)] if settings.url else []
        if not stores or any(folder.parent.glob(f"{folder.name}*")):  # used before: there is something to forget
            from chatllm_cli.services.cache.disk import DiskStore

            stores.append(DiskStore(folder, size_mb=settings.size_mb))
        images = self._attachment_store.load
        return ResponseCache(stores[0], settings, hashes.sha256_of, others=stores[1:], images=images)

    @cached_property
    def model_lists(self) -> "ModelLists":
        """The lists of the providers' models."""
        from chatllm_cli.services.model_lists import ModelLists

        return ModelLists(self._places.model_lists, self._list_models)

    async def _list_models(self, endpoint: Endpoint) -> list[str]:
        return await self.llm.list_models(endpoint)  # built, and LangChain imported, only if somebody has to be asked

    @cached_property
    def guard(self) -> "PromptGuard":
        """Whoever looks for secrets in prompts."""
        from chatllm_cli.config.secrets import secrets_of
        from chatllm_cli.services.redaction import PromptGuard

        mode = self.settings.redact
        self._known_keys.update(secrets_of(self.settings), (each.key for each in self._stored_keys.values()))
        harmless = self.providers.keys_for_this_machine()
        return PromptGuard(looks=mode != "off", replaces=mode == "replace", known=self._known_keys, harmless=harmless)

    @cached_property
    def exporter(self) -> "Exporter":
        """What hands out conversations of the history."""
        from chatllm_cli.services.exporting import Exporter

        return Exporter(self.history, self._attachment_store.load, lambda: self.guard.keys)

    @property
    def llm(self) -> LanguageModel:
        """The language model's service, built, and LangChain imported, on first use."""
        if self._llm is None:
            from chatllm_cli.services.llm import LLMService
            from chatllm_cli.services.local.engine import LocalModel

            settings = self.settings
            local_model = LocalModel(settings.local, self.local_models, self._places.cache / "tried-models.json")
            self._llm = LLMService(
                local_model,
                settings.timeouts,
                settings.limits,
                keys=self.keys,
                images=self._attachment_store.load,
                tracing=settings.privacy.tracing,
                on_pace=self._gate.paced if self._gate else lambda *_: None,
                lag=LAG_OF_A_BATCH if self._gate else 0.0,
            )
        return self._llm

    @property
    def has_llm(self) -> bool:
        """Whether the language model's service is built."""
        return self._llm is not None

    @cached_property
    def spending(self) -> "Spending":
        """What was spent."""
        from chatllm_cli.services.spending import Spending

        return Spending(self._places.spending, self.history.spend)

    def build_chat(self, *, cached: bool, gate: "Gate | None" = None) -> "ChatService":
        """Build the service that does turns, with the response cache or without; requests go through the gate."""
        from chatllm_cli.services.chat import Budget, ChatService

        llm: ChatModel = _LateModel(self)
        if gate:
            from chatllm_cli.services.batch.gate import GatedModel

            self._gate = gate
            llm = GatedModel(llm, gate)
        return ChatService(
            llm,
            timeouts=self.settings.timeouts,
            retries=self.settings.retries,
            limits=self.settings.limits,
            cache=self.cache if cached else None,
            guard=self.guard,
            prices=self.prices,
            budget=Budget(self.settings.budget, self.spending.since, self.prices),
            trim=self.settings.trim,
        )

    async def open_conversation(
        self,
        prompt: str,
        endpoint: Endpoint,
        *,
        system_prompt: str | None,
        last: Conversation | None,
        keep: bool | None = None,
    ) -> "OpenConversation":
        """Take up `last`, or begin a conversation with `prompt`; it is kept if the settings say so, unless told."""
        keep = self.settings.history.enabled if keep is None else keep
        if system_prompt is None and not last:
            system_prompt = self.settings.system_prompt
        if system_prompt:
            system_prompt = self.guard.checked_system_prompt(system_prompt)
        if last:
            return await self.history.resume(last, system_prompt=system_prompt, keep=keep)
        title = self.guard.checked_title(prompt)
        return self.history.start(title, model=endpoint.address, system_prompt=system_prompt or "", keep=keep)

    async def change(self, settings: "Settings") -> None:
        """Work with other settings from here on; what is connected stays so."""
        self.settings = settings
        for name in ("providers", "prices", "guard"):
            self.__dict__.pop(name, None)
        if cache := self.__dict__.pop("cache", None):
            await cache.aclose()

    async def aclose(self) -> None:
        """Close whatever was opened."""
        if self._llm is not None:
            await self._llm.aclose()
        if "cache" in self.__dict__:
            await self.cache.aclose()


def _redis_store(url: str) -> "Store":
    try:
        from chatllm_cli.services.cache.redis_store import RedisStore
    except ImportError:
        from chatllm_cli.config.addresses import shown_address
        from chatllm_cli.services.cache.stores import MissingStore

        return MissingStore(shown_address(url), "the extra redis is missing: pip install 'chatllm-cli[redis]'")
    return RedisStore(url)


class _LateModel:
    """Puts off building the LLM service until a request is made: an answer from the cache needs none."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def ready(self, endpoint: Endpoint) -> None:
        if not self._services.has_llm:
            await _imported("chatllm_cli.services.llm")
        await self._services.llm.ready(endpoint)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        async with aclosing(self._services.llm.stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk


async def _imported(module: str) -> None:
    """Import a module in a thread: in the loop's own, a signal would have to wait for the end of it."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(done.set)

    import_in_background(module, then=tell)
    await done.wait()
