"""Answers that were given before: kept on this machine, or on a Redis server that several share."""

from chatllm_cli.services.cache.service import CacheStats, ResponseCache
from chatllm_cli.services.cache.stores import Store

__all__ = ["CacheStats", "ResponseCache", "Store"]
