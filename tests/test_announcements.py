from chatllm_cli.models import Attachment
from chatllm_cli.services.attachments.reading import Reading
from chatllm_cli.services.chat.announcements import announced, described

TEXT = Attachment("src/a.py", "text/plain", 1234, "word " * 300)
IMAGE = Attachment("a.png", "image/png", 34_000, sha256="a" * 64)


def test_an_attachment_is_described_by_its_name_and_size() -> None:
    assert described(TEXT) == "src/a.py (1.2 kB, about 312 tokens)"
    assert described(IMAGE) == "a.png (image/png, 34 kB)"


def test_each_attachment_is_told() -> None:
    assert announced(Reading("src", (TEXT, IMAGE))) == [
        "attached: src/a.py (1.2 kB, about 312 tokens)",
        "attached: a.png (image/png, 34 kB)",
    ]


def test_of_many_the_first_are_told_and_what_the_others_come_to() -> None:
    lines = announced(Reading("src", (TEXT,) * 23 + (IMAGE,), skipped=3))
    assert lines[:-2] == ["attached: src/a.py (1.2 kB, about 312 tokens)"] * 10
    assert lines[-2:] == [
        "… and 14 more (50 kB, about 5,060 tokens)",
        "skipped in src: 3 files that cannot be attached",
    ]


def test_a_single_skipped_file_is_one() -> None:
    assert announced(Reading("src", (TEXT,), skipped=1))[-1] == "skipped in src: 1 file that cannot be attached"
