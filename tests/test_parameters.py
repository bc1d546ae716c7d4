"""Options are converted without pydantic where they are plain, and come out as if they were converted with it."""

from typing import Any

import pytest

from chatllm_cli.cli import app as app_module
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI

NUMBERS = [
    "0", "1", "-1", "007", "-0", "1.0", "1.5", ".5", "1.", "1e0", "1_0", " 1", "1 ", "+1", "nan", "inf", "", "x",
    "\u0661", "\xbd", "9" * 18, "9" * 19, "9" * 400, "0.1" + "1" * 30, "true", "None",
]  # fmt: skip
NUMBER_OPTIONS = ("--temperature", "--max-tokens", "--seed")
QUESTIONS = [
    *(["ask", "--no-cache", f"{name}={number}", "hi"] for name in NUMBER_OPTIONS for number in NUMBERS),
    *(["history", "list", f"-n{number}"] for number in NUMBERS),
    *(["history", "list", f"--since={since}"] for since in ("7d", "today", "2026-11-30", "never", "", "7 d ")),
    *(["history", "list", f"--sort={sort}"] for sort in ("used", "USED", "Sort.USED", "size", "")),
    *(["ask", f"--trim={trim}", "hi"] for trim in ("never", "oldest", "NEVER", "no", "")),
    ["ask", "--stop", "a", "--stop", "b", "--option", "top_k=1", "hi", "there"],
    ["ask", "--stop", "", "hi"],
    ["ask", "--temperature", "hi"],
    ["history", "tag", "@1"],
    ["history", "show", "@1", "@2"],
    ["config", "set", "model"],
    ["--profile"],
    ["--profile", "none", "config", "show"],
    ["ask", "\udcff"],
    ["history", "tag", "@1", "\udcff"],
    ["models", "pull", "x", "--sha256", "x"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", QUESTIONS, ids=range(len(QUESTIONS)))
def test_a_command_does_the_same_as_with_typers_own_conversion(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def outcome() -> tuple[Any, ...]:
        provider.seen.clear()
        result = run(*arguments)
        return result.exit_code, result.stdout, result.stderr, [seen.body for seen in provider.seen]

    quick = outcome()
    monkeypatch.setattr(app_module, "quicken", lambda _: None)
    assert quick == outcome()
