import asyncio
import time
from collections.abc import Callable

import pytest

from chatllm_cli.bootstrap import Services
from chatllm_cli.config.loading import load_settings
from chatllm_cli.config.places import Places
from chatllm_cli.services.redaction import RULES, FoundSecret, PromptGuard, find_secrets, redacted
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import Terminal

NONE: frozenset[str] = frozenset()

# In two parts each: whoever scans this repository for secrets must not find one.
EXAMPLES = [
    ("private key", "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"),
    ("private key", "-----BEGIN PRIVATE" + " KEY-----\nMIIE"),
    ("private key", "-----BEGIN PGP PRIVATE" + " KEY BLOCK-----\nlQ\n-----END PGP PRIVATE KEY BLOCK-----"),
    ("Anthropic key", "sk-ant-" + "api03-" + "x" * 40),
    ("OpenRouter key", "sk-or-" + "v1-" + "0" * 64),
    ("OpenAI key", "sk-" + "A1" * 24),
    ("OpenAI key", "sk-" + "A1" * 24 + "-_x"),
    ("OpenAI key", "sk-proj-" + "a_-9" * 20),
    ("OpenAI key", "sk-proj-" + "a" * 40),
    ("OpenAI key", "sk-svcacct-" + "a_-9" * 20),
    ("OpenAI key", "sk-admin-" + "a_-9" * 20),
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
    ("Slack webhook", "hooks.slack.com/services/" + "T00000000/B00000000/" + "X" * 24),
    ("Stripe key", "sk_live_" + "a" * 24),
    ("Stripe key", "rk_test_" + "a" * 24),
    ("SendGrid key", "SG." + "a" * 22 + "." + "b" * 43),
    ("DigitalOcean token", "dop_v1_" + "a" * 64),
    ("npm token", "npm_" + "a" * 36),
    ("PyPI token", "pypi-" + "AgEIcHlwaS5vcmc" + "a" * 60),
    ("web token", "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0aaa.abcdefghijklmn"),
    *(("GitHub token", f"gh{letter}_" + "a" * 36) for letter in "usr"),
    *(("Slack token", f"xox{letter}-" + "1234567890") for letter in "aeoprs"),
    *(("Stripe key", f"{prefix}_" + "a" * 24) for prefix in ("sk_test", "rk_live")),
    *(("DigitalOcean token", f"do{letter}_v1_" + "0" * 64) for letter in "or"),
    ("AWS access key", "ASIA" + "IOSFODNN7EXAMPLE"),
]
HIDDEN = "[password in an address]"
ADDRESSES = [
    ("postgres://admin:" + "hunter2@db.example.org/main", f"postgres://{HIDDEN}@db.example.org/main"),
    ("redis://:" + "hunter2secret@db.example.com:6379/0", f"redis://{HIDDEN}@db.example.com:6379/0"),
    ("postgres://u:" + "p@ss.w0rd!x@db", f"postgres://{HIDDEN}@db"),
    ("postgres://user:" + "pa/ss@db", f"postgres://{HIDDEN}@db"),
    ("postgres://user:" + "p@s/s@db", f"postgres://{HIDDEN}@db"),
    ("amqps://u:" + "a:b@h", f"amqps://{HIDDEN}@h"),
    ("mongodb+srv://u:" + "p" * 120 + "@h", f"mongodb+srv://{HIDDEN}@h"),
    ("postgres://u:" + "pw@/main", f"postgres://{HIDDEN}@/main"),
    ("postgres://u:" + "pw@$HOST/main", f"postgres://{HIDDEN}@$HOST/main"),
    ("'redis://:" + "pw@' + host, 'me@x.org'", f"'redis://{HIDDEN}@' + host, 'me@x.org'"),
    ("git+https://u:" + "pw@github.com/org/repo@v1", f"git+https://{HIDDEN}@github.com/org/repo@v1"),
    (
        "http://[::1]:80/,redis://:" + "a@h.org/,redis://:" + "b@h",
        f"http://[::1]:80/,redis://{HIDDEN}@h.org/,redis://{HIDDEN}@h",
    ),
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
    "http://localhost:5173/@vite/client",
    "http://[::1]:8080/users/me@example.org",
    "https://example.org:443?mail=me@example.org",
    "https://example.org:443#@top",
    "http://localhost:${PORT}/@vite/client and http://localhost:{port}/@vite/client",
    "postgres://{user}:{password}@{host}/{name}",
    "git+ssh://git@github.com:org/repo.git@v1",
    "http://example.org:of, me@example.org",
    '{"a": "http://x:y", "b": "me@example.org"}',
    "sk-toggleable__label-arrow and sk-container-id-1",
    "https://x.sk/sk-najlepsie-restaurace-v-bratislave",
    "sk-" + "abcdefghijklmnopqrstuvwxyz",
    "sk-" + "0123456789" * 3,
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
    ("before", "after"),
    [
        ("", ""),
        ("key=", "\n"),
        ("Why does '", "' not work?"),
        ("日本", "。"),
        ('"a\\n', '\\n"'),
        ("\\r", ""),
        ("\\t", ""),
    ],
)
def test_a_secret_is_found_wherever_it_stands(kind: str, secret: str, before: str, after: str) -> None:
    if secret.endswith("MIIE"):
        after = ""  # a key that was cut goes on to the end
    found = find_secrets(before + secret + after)
    assert found == [FoundSecret(kind, len(before), len(before) + len(secret))]


@pytest.mark.parametrize(("text", "without"), ADDRESSES)
def test_the_password_in_an_address_is_taken_out_whole_and_its_host_is_not(text: str, without: str) -> None:
    assert redacted(text, NONE) == (without, ("password in an address",))


def test_every_rule_has_an_example() -> None:
    prefixes = {(kind, prefix) for kind, all_of_it, _ in RULES for prefix in all_of_it}
    assert {
        each for each in prefixes if not any(each[0] == kind and each[1] in text for kind, text in EXAMPLES)
    } == set()


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert find_secrets(text) == []


def test_a_key_of_ones_own_is_found_whatever_it_looks_like() -> None:
    found = find_secrets("use my-own-key-1 and my-own-key-1", {"my-own-key-1", "short"})
    assert found == [FoundSecret("key of yours", 4, 16), FoundSecret("key of yours", 21, 33)]
    assert find_secrets("use short", {"short"}) == []


def test_what_overlaps_is_one_find_and_no_end_of_it_is_left() -> None:
    key = "sk-" + "a1" * 15
    assert find_secrets(key, {key, key[5:20]}) == [FoundSecret("OpenAI key", 0, 33)]
    assert find_secrets(f"{key}.secret", {f"{key[20:]}.secret"}) == [FoundSecret("OpenAI key", 0, 40)]


TOKEN = "ghp_" + "a" * 36
TEN_MEGABYTES = 10_000_000
LONG = {
    "prose": "What is, or was, the task-force that asked for it, and why? " * 167_000,
    "code": 'def work(each: int) -> str:\n    return "https://x.org:80/a"  # sk-learn, SG. and me@x.org\n' * 112_000,
    "base64": "QUJDRGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo0/+" * 263_000,
}
HOSTILE = (
    "://",
    "://a",
    "://a:",
    "://:@",
    "://a:b@",
    "://a:b@c.de",
    "://a:b@c.de/",
    "@",
    "@a.bc.",
    "-----BEGIN ",
    "-----BEGIN PRIVATE" + " KEY-----",
    "-----END A",
    "A ",
    "sk-",
    "sk-a1",
    "\\nsk-",
    "eyJ",
    "SG.",
    "eyJaaaaaaaaaa.",
)


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_text_costs_next_to_nothing(text: str) -> None:
    begin = time.process_time()
    assert redacted(text, NONE) == (text, ())
    assert time.process_time() - begin < 1  # 0.2 s, on a machine that has nothing else to do


@pytest.mark.parametrize("before", ["", "-----BEGIN PRIVATE" + " KEY-----", "http://a:b"])
@pytest.mark.parametrize("part", HOSTILE)
def test_no_text_takes_longer_than_its_length(before: str, part: str) -> None:
    begin = time.process_time()
    find_secrets(before + part * (TEN_MEGABYTES // 10 // len(part)))
    assert time.process_time() - begin < 3


def test_many_secrets_are_replaced_as_fast_as_few() -> None:
    text = (TOKEN + "x" * 8 + " \n") * 200_000
    begin = time.process_time()
    assert redacted(text, NONE) == ("[GitHub token] \n" * 200_000, ("GitHub token",))
    assert time.process_time() - begin < 5


def test_a_guard_tells_each_kind_once_and_changes_nothing() -> None:
    guard = PromptGuard(looks=True, replaces=False)
    assert guard.checked(f"{TOKEN} {TOKEN}") == (f"{TOKEN} {TOKEN}", ["GitHub token"])


def test_a_guard_that_replaces_takes_every_one_out() -> None:
    guard = PromptGuard(looks=True, replaces=True, known={"my-own-key-1"})
    text, kinds = guard.checked(f"a {TOKEN} b my-own-key-1 c {TOKEN}")
    assert (text, kinds) == ("a [GitHub token] b [key of yours] c [GitHub token]", ["GitHub token", "key of yours"])


def test_a_guard_that_does_not_look_finds_nothing() -> None:
    guard = PromptGuard(looks=False, replaces=False)
    assert guard.checked(TOKEN) == (TOKEN, [])
    assert (guard.checked_system_prompt(TOKEN), guard.checked_title(TOKEN)) == (TOKEN, TOKEN)


def test_a_guard_looks_for_nothing_where_nobody_is_told() -> None:
    assert PromptGuard(looks=True, replaces=False).checked(TOKEN, is_told=False) == (TOKEN, [])
    assert PromptGuard(looks=True, replaces=True).checked(TOKEN, is_told=False)[1] == ["GitHub token"]


def test_what_a_system_prompt_holds_is_told_once_along_with_the_first_prompt() -> None:
    guard = PromptGuard(looks=True, replaces=True)
    assert guard.checked_system_prompt(f"use {TOKEN}") == "use [GitHub token]"
    assert guard.checked("hi") == ("hi", ["GitHub token"])
    assert guard.checked("hi") == ("hi", [])


def test_a_guard_comes_to_know_keys_while_it_works() -> None:
    known: set[str] = set()
    guard = PromptGuard(looks=True, replaces=True, known=known)
    assert guard.checked("my-own-key-1")[0] == "my-own-key-1"
    known.add("my-own-key-1")
    assert guard.checked("my-own-key-1")[0] == "[key of yours]"


@pytest.mark.parametrize("stand_in", ["lm-studio", "not_needed", "harmless-1"])
def test_what_stands_in_for_a_key_is_no_secret(stand_in: str) -> None:
    guard = PromptGuard(looks=True, replaces=True, known={stand_in}, harmless={"harmless-1"})
    assert guard.checked(f"how do I set up {stand_in} here") == (f"how do I set up {stand_in} here", [])


def test_letters_that_are_no_words_are_a_key() -> None:
    guard = PromptGuard(looks=True, replaces=True, known={"abcdefghijklmnop"})
    assert guard.checked("abcdefghijklmnop")[0] == "[key of yours]"


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


@pytest.mark.parametrize("way", ["-s", "setting"])
def test_a_secret_in_the_system_prompt_is_replaced_as_well(
    run: Run, provider: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("CHATLLM_REDACT", "replace")
    if way == "setting":
        monkeypatch.setenv("CHATLLM_SYSTEM_PROMPT", f"use {TOKEN}")
    result = run("ask", "-m", "says-hello", *(["-s", f"use {TOKEN}"] if way == "-s" else []), "hi")
    expected = "the prompt holds what looks like a secret: GitHub token; it was replaced (redact in the settings)\n"
    assert (result.stdout, result.stderr) == ("hello", expected)
    assert provider.last_messages() == [("system", "use [GitHub token]"), ("user", "hi")]
    (journal,) = places.conversations.rglob("*.jsonl")
    assert TOKEN not in journal.read_text()


def test_a_secret_in_the_system_prompt_of_a_resumed_conversation_is_replaced_as_well(
    run: Run, provider: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_REDACT", "replace")
    run("ask", "-m", "says-hello", "hi")
    assert run("ask", "-c", "-s", f"use {TOKEN}", "again").exit_code == 0
    assert provider.last_messages()[0] == ("system", "use [GitHub token]")
    (journal,) = places.conversations.rglob("*.jsonl")
    assert TOKEN not in journal.read_text()


def test_a_secret_in_the_system_prompt_is_told_on_a_terminal(
    terminal: Callable[..., Terminal], provider: FakeOpenAI
) -> None:
    screen = terminal("ask", "-m", "says-hello", "-s", TOKEN, "hi", columns=200)
    assert screen.wait() == 0
    assert "the prompt holds what looks like a secret: GitHub token; it is sent as it is" in screen.text


def test_a_key_that_a_command_printed_is_known_once_it_was_used(
    provider: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_REDACT", "replace")
    monkeypatch.delenv("CHATLLM_API_KEY")
    monkeypatch.setenv("CHATLLM_API_KEY_CMD", "echo plainkey-12345678")
    services = Services(load_settings(), places)
    asyncio.run(services.keys.key_for(services.providers.endpoint("says-hello")))
    assert services.guard.checked("my key is plainkey-12345678") == ("my key is [key of yours]", ["key of yours"])


def test_a_key_for_this_machine_alone_is_no_secret(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_REDACT", "replace")
    monkeypatch.setenv("CHATLLM_API_KEY", "llama-3-8b")
    run("ask", "-m", "says-hello", "what is llama-3-8b?")
    assert provider.last_messages() == [("user", "what is llama-3-8b?")]
    monkeypatch.setenv("CHATLLM_PROVIDERS__GROQ__API_KEY", "llama-3-8b")
    run("ask", "-m", "says-hello", "what is llama-3-8b?")
    assert provider.last_messages() == [("user", "what is [key of yours]?")]


def test_a_secret_is_not_looked_for_if_that_is_not_wished(
    terminal: Callable[..., Terminal], provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_REDACT", "off")
    screen = terminal("ask", "-m", "says-hello", TOKEN)
    assert screen.wait() == 0
    assert screen.text.splitlines()[0] == "hello"
