from collections.abc import Callable

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.services.redaction import KINDS, FoundSecret, PromptGuard, find_secrets
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import Terminal

# In two parts each: whoever scans this repository for secrets must not find one.
EXAMPLES = [
    ("private key", "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"),
    ("private key", "-----BEGIN PRIVATE" + " KEY-----\nMIIE"),
    ("private key", "-----BEGIN PGP PRIVATE" + " KEY BLOCK-----\nlQ\n-----END PGP PRIVATE KEY BLOCK-----"),
    ("Anthropic key", "sk-ant-" + "api03-" + "x" * 40),
    ("OpenRouter key", "sk-or-" + "v1-" + "0" * 64),
    ("OpenAI key", "sk-" + "A1" * 24),
    ("OpenAI key", "sk-proj-" + "a_-9" * 20),
    ("Groq key", "gsk_" + "a" * 52),
    ("xAI key", "xai-" + "a" * 80),
    ("Google key", "AIza" + "Sy" + "a" * 33),
    ("Hugging Face token", "hf_" + "a" * 34),
    ("GitHub token", "ghp_" + "a" * 36),
    ("GitHub token", "gho_" + "a" * 36),
    ("GitHub token", "github_pat_" + "a" * 22 + "_" + "b" * 59),
    ("GitLab token", "glpat-" + "a" * 20),
    ("AWS access key", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("Slack token", "xoxb-" + "123456789012-abcdef"),
    ("Slack webhook", "https://hooks.slack.com/services/" + "T00000000/B00000000/" + "X" * 24),
    ("Stripe key", "sk_live_" + "a" * 24),
    ("Stripe key", "rk_test_" + "a" * 24),
    ("SendGrid key", "SG." + "a" * 22 + "." + "b" * 43),
    ("DigitalOcean token", "dop_v1_" + "a" * 64),
    ("npm token", "npm_" + "a" * 36),
    ("PyPI token", "pypi-" + "AgEIcHlwaS5vcmc" + "a" * 60),
    ("web token", "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0aaa.abcdefghijklmn"),
]
INNOCENT = [
    "",
    "a question about sk-learn and sk-image",
    "the task-force-of-twenty-four-and-more",
    "mask-abcdefghijklmnopqrstuvwxyz",
    "what is the format of an AWS key, AKIA...?",
    "sha256:" + "a" * 64,
    "git commit " + "0123456789abcdef" * 2 + "01234567",
    "550e8400-e29b-41d4-a716-446655440000",
    "https://example.org/a:b@c",
    "mailto:someone@example.org",
    "git@github.com:org/repo.git",
    "ssh://git@host/repo",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----",
    "eyJ is how base64 of a JSON object begins",
    "日本語" * 100,
    "x" * 100_000,
]


@pytest.mark.parametrize(("kind", "secret"), EXAMPLES)
@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("key=", "\n"), ("Why does '", "' not work?"), ("日本", "。")]
)
def test_a_secret_is_found_wherever_it_stands(kind: str, secret: str, before: str, after: str) -> None:
    if secret.endswith("MIIE"):
        after = ""  # a key that was cut goes on to the end
    found = find_secrets(before + secret + after)
    assert found == [FoundSecret(kind, len(before), len(before) + len(secret))]


def test_the_password_in_an_address_is_found_and_its_host_is_not() -> None:
    text = "postgres://admin:" + "hunter2@db.example.org/main"
    assert PromptGuard(looks=True, replaces=True).checked(text) == (
        "postgres://[password in an address]@db.example.org/main",
        ["password in an address"],
    )


def test_every_rule_has_an_example() -> None:
    assert {*KINDS} - {kind for kind, _ in EXAMPLES} == {"password in an address"}


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert find_secrets(text) == []


def test_a_key_of_ones_own_is_found_whatever_it_looks_like() -> None:
    found = find_secrets("use my-own-key-1 and my-own-key-1", {"my-own-key-1", "short"})
    assert found == [FoundSecret("key of yours", 4, 16), FoundSecret("key of yours", 21, 33)]
    assert find_secrets("use short", {"short"}) == []


def test_what_overlaps_is_found_once() -> None:
    key = "sk-" + "a" * 30
    assert find_secrets(key, {key, key[5:20]}) == [FoundSecret("OpenAI key", 0, 33)]


TOKEN = "ghp_" + "a" * 36


def test_a_guard_tells_each_kind_once_and_changes_nothing() -> None:
    guard = PromptGuard(looks=True, replaces=False)
    assert guard.checked(f"{TOKEN} {TOKEN}") == (f"{TOKEN} {TOKEN}", ["GitHub token"])


def test_a_guard_that_replaces_takes_every_one_out() -> None:
    guard = PromptGuard(looks=True, replaces=True, known={"my-own-key"})
    text, kinds = guard.checked(f"a {TOKEN} b my-own-key c {TOKEN}")
    assert (text, kinds) == ("a [GitHub token] b [key of yours] c [GitHub token]", ["GitHub token", "key of yours"])


def test_a_guard_that_does_not_look_finds_nothing() -> None:
    assert PromptGuard(looks=False, replaces=False).checked(TOKEN) == (TOKEN, [])


def test_a_secret_in_a_prompt_is_told_on_a_terminal_and_sent(
    terminal: Callable[..., Terminal], provider: FakeOpenAI
) -> None:
    screen = terminal("ask", "-m", "says-hello", f"what is {TOKEN}?", columns=200)
    assert screen.wait() == 0
    assert "the prompt holds what looks like a secret: GitHub token; it is sent as it is" in screen.text
    assert provider.last_messages() == [("user", f"what is {TOKEN}?")]


def test_a_secret_in_a_prompt_is_no_matter_on_a_pipe(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "-m", "says-hello", TOKEN)
    assert (result.stdout, result.stderr) == ("hello", "")


def test_a_secret_that_is_to_be_replaced_is_in_no_request_and_no_file(
    run: Run, provider: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_REDACT", "replace")
    result = run("ask", "-m", "says-hello", f"what is {TOKEN}?")
    expected = "the prompt holds what looks like a secret: GitHub token; it was replaced (redact in the settings)\n"
    assert (result.stdout, result.stderr) == ("hello", expected)
    assert provider.last_messages() == [("user", "what is [GitHub token]?")]
    (journal,) = places.conversations.rglob("*.jsonl")
    assert TOKEN not in journal.read_text()
    assert "what is [GitHub token]?" in run("history", "list").stdout


def test_a_secret_is_not_looked_for_if_that_is_not_wished(
    terminal: Callable[..., Terminal], provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_REDACT", "off")
    screen = terminal("ask", "-m", "says-hello", TOKEN)
    assert screen.wait() == 0
    assert screen.text.splitlines()[0] == "hello"
