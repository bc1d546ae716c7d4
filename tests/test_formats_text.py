from dataclasses import replace

from chatllm_cli.formats import text
from chatllm_cli.models import Attachment, Message, Role
from tests.trees import AT, CONVERSATION, titled

TEXT = """\
Grüße

System, 2026-01-02 03:04 UTC:
Be kind.

User, 2026-01-02 03:04 UTC:
Say *hello*

in 日本

hub/other (truncated), 2026-01-02 03:06 UTC:
こんにちは

User, 2026-01-02 03:07 UTC:
more

hub/other (error), 2026-01-02 03:08 UTC:

User, 2026-01-02 03:09 UTC:
again

assistant, 2026-01-02 03:10 UTC:
done
"""


def test_a_transcript_says_who_spoke_when_and_what() -> None:
    assert text.dump(CONVERSATION) == TEXT


def test_what_was_attached_stands_below_what_was_typed() -> None:
    attached = (Attachment("a.md", "text/plain", 5, "text\n"), Attachment("b.png", "image/png", 9, sha256="a" * 64))
    asked = Message("u1", Role.USER, "Look", AT, attachments=attached)
    assert text.dump(replace(titled("T"), messages=(asked,), head="u1")) == (
        "T\n\nUser, 2026-01-02 03:04 UTC:\nLook\n\n"
        "Attached: a.md (5 bytes)\ntext\n\nAttached: b.png (image/png, 9 bytes)\n"
    )


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert text.dump(titled("caf\udce9")) == "caf\ufffd\n"
