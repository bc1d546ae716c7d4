from dataclasses import replace

import pytest

from chatllm_cli.errors import UsageError
from chatllm_cli.models import Attachment
from chatllm_cli.services.chat.attached import checked, those_who_see
from chatllm_cli.services.redaction import PromptGuard
from tests.fakes import ENDPOINT

CODE = Attachment("src/a.py", "text/plain", 8, "print(1)")
IMAGE = Attachment("a.png", "image/png", 70, sha256="a" * 64)
SECRET = "sk-proj-" + "a1" * 20
EMBEDDED = replace(ENDPOINT, provider="local", weights="sha256:1")


@pytest.mark.parametrize("replaces", [True, False])
def test_secrets_are_looked_for_in_what_is_attached_too(replaces: bool) -> None:
    guard = PromptGuard(looks=True, replaces=replaces)
    address = replace(CODE, name=f"https://host/?key={SECRET}", text="fine")
    leak = replace(CODE, text=f"key = {SECRET}")
    prompt, attached, kinds = checked(guard, "hi", [CODE, address, leak, IMAGE], is_told=True)
    shown = "[OpenAI key]" if replaces else SECRET
    assert (prompt, kinds) == ("hi", ["OpenAI key"])
    assert attached == (
        CODE,
        replace(address, name=f"https://host/?key={shown}"),
        replace(leak, text=f"key = {shown}"),
        IMAGE,
    )


def test_the_embedded_model_is_not_asked_about_an_image() -> None:
    other = replace(ENDPOINT, model="other")
    with pytest.raises(UsageError) as raised:
        those_who_see([EMBEDDED, ENDPOINT], [CODE, IMAGE])
    assert raised.value.message == "a.png cannot be sent: the embedded model takes no images"
    assert those_who_see([ENDPOINT, EMBEDDED, other], [IMAGE]) == [ENDPOINT, other]
    assert those_who_see([EMBEDDED, ENDPOINT], [CODE]) == [EMBEDDED, ENDPOINT]
