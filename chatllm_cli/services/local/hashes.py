"""What tells model files from each other on every machine: their SHA-256, remembered once it was found out.

A file that was pulled, or came along, has one written down. Any other is read once, at about a gigabyte a second,
and again when its size or its age changes.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

from chatllm_cli.private_files import note_json, read_json
from chatllm_cli.services.local.weights import FILE_MARK, HASH_MARK, hash_of

MOST_REMEMBERED = 100


class WeightsHashes:
    """Finds the hash behind the fingerprint of a model file; `record` remembers it."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._found: dict[str, str] = {}  # also where nothing can be written

    async def sha256_of(self, fingerprint: str) -> str:
        """Return the SHA-256 that a fingerprint names, or that its file has; itself if nobody can tell."""
        if not fingerprint.startswith(FILE_MARK):
            return fingerprint.removeprefix(HASH_MARK)
        if known := self._found.get(fingerprint) or self._known().get(fingerprint):
            return known
        path = Path(fingerprint.removeprefix(FILE_MARK).rsplit(":", 2)[0])
        try:
            found = await asyncio.to_thread(hash_of, path)
        except OSError:
            return fingerprint
        self._found[fingerprint] = found
        self._remember(fingerprint, found)
        return found

    def _known(self) -> dict[str, str]:
        told = read_json(self._record)
        return {name: each for name, each in told.items() if isinstance(each, str)} if isinstance(told, dict) else {}

    def _remember(self, fingerprint: str, sha256: str) -> None:
        known = self._known() | {fingerprint: sha256}
        with suppress(OSError):  # then it is read again the next time
            note_json(self._record, dict(list(known.items())[-MOST_REMEMBERED:]))
