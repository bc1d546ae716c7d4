"""The bytes that foreign conversations name, or carry within, as attachments."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable

from chatllm_cli.formats.reading.source import MOST_BYTES
from chatllm_cli.image_types import image_type
from chatllm_cli.models import Attachment

_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w=.+-]+)*;base64,")


class AttachedFiles:
    """Collects the images of one conversation, `MOST_BYTES` together at most."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}  # by their SHA-256
        self._left = MOST_BYTES
        self._seen: dict[str, Attachment | None] = {}

    def image(self, name: str, data: bytes | None) -> Attachment | None:
        """Return an image as an attachment; None if it is none that models take, or too much by now."""
        kind = image_type(data) if data else None
        if data is None or kind is None:
            return None
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self.files:
            if len(data) > self._left:
                return None
            self._left -= len(data)
            self.files[sha256] = data
        return Attachment(name, kind, len(data), sha256=sha256)

    def image_in(self, url: str, name: str) -> Attachment | None:
        """Return the image that a data URL carries; None if there is none in it."""
        begin = _DATA_URL.match(url)
        if not begin:
            return None
        try:
            return self.image(name, base64.b64decode(url[begin.end() :]))
        except (binascii.Error, ValueError):
            return None

    def image_beside(self, begin: str, name: str, beside: Callable[[str], bytes | None]) -> Attachment | None:
        """Return the image in the file whose name begins so, which is looked for once."""
        if begin not in self._seen:
            self._seen[begin] = self.image(name, beside(begin))
        return self._seen[begin]
