"""Keys: where each provider's lies, and to whom it may go."""

from chatllm_cli.services.keys.key_file import KeyFile, Store, StoredKey, StoredKeys
from chatllm_cli.services.keys.service import Keys

__all__ = ["KeyFile", "Keys", "Store", "StoredKey", "StoredKeys"]
