"""Which attachments the history still needs."""

from pathlib import Path

from chatllm_cli.services.history import files, records


def hashes_in_use(root: Path) -> set[str]:
    """Return the SHA-256 of each that the journals name, not the index, asides included. Raises OSError."""
    paths = files.all_journals(root) + files.all_asides(root)
    return set().union(*(records.hashes_in(_read(path)) for path in paths))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # removed since it was listed
        return b""
