import json
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI


def journal_of(places: Places) -> list[dict[str, object]]:
    """The records of the only conversation there is."""
    (path,) = places.conversations.glob("*/*/*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_answers_exact_text_and_nothing_else_is_on_stdout(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "hi")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hello there", "")


def test_argument_and_stdin_are_joined(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "Answer", "briefly:", stdin="2+2?\n")
    assert provider.last_messages() == [("user", "Answer briefly:\n\n2+2?")]


def test_stdin_alone_is_a_prompt(run: Run, provider: FakeOpenAI) -> None:
    run("ask", stdin="grüße 日本\n")
    assert provider.last_messages() == [("user", "grüße 日本")]


def test_the_request_carries_system_earlier_messages_and_prompt(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-s", "Be kind.", "first")
    result = run("ask", "-c", "second")
    assert result.exit_code == 0
    assert provider.last_messages() == [
        ("system", "Be kind."),
        ("user", "first"),
        ("assistant", "hello there"),
        ("user", "second"),
    ]


def test_a_new_system_prompt_replaces_the_one_of_a_continued_conversation(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-s", "Be kind.", "first")
    run("ask", "-c", "-s", "Be brief.", "second")
    run("ask", "-c", "third")
    assert provider.last_messages()[0] == ("system", "Be brief.")


def test_options_reach_the_provider_under_the_name_it_knows(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "--temperature", "0.5", "--max-tokens", "7", "hi")
    body = provider.chats[0].body
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.5, 7, True)
    assert "max_completion_tokens" not in body


def test_nothing_but_what_the_request_needs_leaves(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "hostile")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Hostile: hostile")
    monkeypatch.setenv("LANGSMITH_GATEWAY", "true")
    assert run("ask", "hi").exit_code == 0
    headers = {name.lower(): value for name, value in provider.chats[0].headers.items()}
    assert headers["authorization"] == "Bearer sk-canary"
    assert "hostile" not in "".join(headers.values())
    assert set(headers) == {
        "host", "connection", "accept", "accept-encoding", "content-type", "content-length", "user-agent",
        "authorization",
    }  # fmt: skip


def test_a_server_without_a_key_is_sent_none(run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHATLLM_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-provider")
    assert run("ask", "hi").exit_code == 0
    assert "Authorization" not in provider.chats[0].headers


def test_a_proxy_is_not_asked_the_way_to_this_machine(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert run("ask", "hi").exit_code == 0


def test_a_key_that_the_server_repeats_is_not_shown(run: Run, provider: FakeOpenAI, places: Places) -> None:
    result = run("ask", "-m", "leak", "hi")
    assert "Bad key: Bearer ********" in result.stderr
    assert "canary" not in result.output + json.dumps(journal_of(places))


@pytest.mark.parametrize(
    ("model", "status", "exit_code", "notice"),
    [
        ("length", "truncated", 6, "the answer is cut off: it reached the limit on its length"),
        ("filter", "filtered", 6, "the answer is cut off: the provider's content filter stopped it"),
        ("eof", "unknown_end", 0, "the answer may be cut off: the provider did not say that it was done"),
    ],
)
def test_an_answer_that_is_not_whole_is_told_and_marked(
    run: Run, provider: FakeOpenAI, places: Places, model: str, status: str, exit_code: int, notice: str
) -> None:
    result = run("ask", "-m", model, "--cache", "hi")
    notice += "" if status == "filtered" else "; `chatllm ask -c` goes on"
    assert (result.exit_code, result.stdout, result.stderr) == (exit_code, "cut short", f"{notice}\n")
    assert journal_of(places)[-1]["status"] == status
    run("ask", "-m", model, "--cache", "hi")
    assert len(provider.chats) == 2, "an answer that is not whole was cached"


def test_an_answer_that_breaks_off_ends_in_6_and_keeps_what_came(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    result = run("ask", "-m", "cut-3", "hi")
    assert (result.exit_code, result.stdout) == (6, "word0 word1 word2 ")
    assert result.stderr.startswith("chatllm: the answer broke off: the connection to ")
    reply = journal_of(places)[-1]
    assert (reply["content"], reply["status"]) == ("word0 word1 word2 ", "error")


def test_an_empty_answer_is_told_and_not_cached(run: Run, provider: FakeOpenAI) -> None:
    for _ in range(2):
        result = run("ask", "-m", "silent", "--cache", "hi")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the answer is empty\n")
    assert len(provider.chats) == 2


def test_the_same_question_at_temperature_0_is_asked_once(run: Run, provider: FakeOpenAI, places: Places) -> None:
    first = run("ask", "--temperature", "0", "hi")
    second = run("ask", "--temperature", "0", "hi")
    assert (first.stdout, first.stderr) == ("hello there", "")
    assert (second.stdout, second.stderr) == ("hello there", "cached just now (--refresh asks again)\n")
    assert len(provider.chats) == 1
    shown = run("history", "show").stdout
    assert "· cached" in shown


@pytest.mark.parametrize("options", [[], ["--temperature", "0.1"], ["--temperature", "0", "--no-cache"]])
def test_other_questions_are_asked_anew(run: Run, provider: FakeOpenAI, options: list[str]) -> None:
    run("ask", *options, "hi")
    run("ask", *options, "hi")
    assert len(provider.chats) == 2


def test_no_history_keeps_nothing_anywhere(run: Run, provider: FakeOpenAI, home: Path) -> None:
    result = run("ask", "--no-history", "--temperature", "0", "--cache", "hi")
    assert (result.exit_code, result.stdout) == (0, "hello there")
    assert list(home.rglob("*")) == []


def test_a_prompt_that_failed_is_kept_but_not_sent_again(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "fault-400", "lost")
    run("ask", "-c", "-m", "tokens-1", "found")
    assert provider.last_messages() == [("user", "found")]
    assert "lost" in run("history", "show").stdout


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        ([], "", "the prompt is empty"),
        (["  "], " \n", "the prompt is empty"),
        ([], b"caf\xe9", "the prompt on stdin is not UTF-8 (byte 4)"),
        (["caf\udce9"], "", "the prompt is not UTF-8 (character 4)"),
        (["-c", "hi"], "", "there is no conversation yet"),
        (["-m", "local/nope", "hi"], "", "there is no embedded model 'nope'"),
        (["-m", "nope", "hi"], "", "there is no model 'nope' without a provider that could have it"),
        (["--temperature", "9", "hi"], "", "command line: temperature: expected a number less than or equal to 2"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    run: Run, home: Path, arguments: list[str], stdin: str | bytes, message: str
) -> None:
    result = run("ask", *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[0] == f"chatllm: {message}"
    assert len(result.stderr.splitlines()) <= 2
    assert list(home.rglob("*")) == []


def test_a_model_file_that_is_missing_is_one_line(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_LOCAL__MODEL_PATH", str(home / "none.gguf"))
    result = run("ask", "hi")
    expected = f"chatllm: local.model_path: {home}/none.gguf cannot be read: No such file or directory\n"
    assert (result.exit_code, result.stderr) == (2, expected)


def test_a_history_that_cannot_be_written_does_not_cost_the_answer(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    places.data.parent.mkdir(parents=True)
    places.data.write_text("in the way")
    result = run("ask", "hi")
    assert (result.exit_code, result.stdout) == (8, "hello there")
    assert result.stderr.splitlines()[0].startswith("chatllm: the conversation could not be saved to ")
    assert len(result.stderr.splitlines()) == 2


def test_going_on_asks_the_model_that_answered_last(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "says-one", "first")
    run("ask", "-c", "-m", "says-two", "second")
    run("ask", "-c", "-m", "fault-400", "third")
    assert run("ask", "-c", "fourth").stdout == "two"


def test_a_character_that_comes_in_halves_is_whole_everywhere(run: Run, provider: FakeOpenAI, places: Places) -> None:
    assert run("ask", "-m", "halves", "hi").stdout == "a 😀 b"
    assert journal_of(places)[-1]["content"] == "a 😀 b"


def test_half_a_character_does_not_spoil_the_conversation(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "lone", "first")
    result = run("ask", "-c", "-m", "says-fine", "second")
    assert (result.exit_code, result.stdout) == (0, "fine")
    assert provider.last_messages()[1] == ("assistant", "a \N{REPLACEMENT CHARACTER} b")


def test_an_answer_that_ended_is_whole_even_if_the_server_then_holds_the_connection(
    run: Run, provider: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_TIMEOUTS__IDLE", "0.3")
    result = run("ask", "-m", "hold", "hi")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "cut short", "")
    assert journal_of(places)[-1]["status"] == "complete"


def test_a_reason_to_end_that_is_no_text_makes_no_whole_answer_and_no_damaged_line(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    assert run("ask", "-m", "reason", "hi").stdout == "cut short"
    reply = journal_of(places)[-1]
    assert (reply["status"], reply["finish_reason"]) == ("unknown_end", "42")
    assert "cut short" in run("history", "show").stdout


def test_a_conversation_that_cannot_be_read_is_not_mistaken_for_another(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    run("ask", "older")
    newest = places.conversations / "2026" / "01" / "aaaabbbbccccdddd.jsonl"
    newest.parent.mkdir(parents=True, exist_ok=True)
    newest.write_text('{"v":9,"type":"message","id":"m"}\n')
    result = run("ask", "-c", "go on")
    assert (result.exit_code, len(provider.chats)) == (8, 1)
    assert result.stderr.splitlines()[0] == (
        "chatllm: conversation aaaabbbbccccdddd was written by a newer version of chatllm (format 9)"
    )


def test_a_conversation_goes_to_no_other_provider_than_its_own(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("ask", "private")
    monkeypatch.delenv("CHATLLM_BASE_URL")
    monkeypatch.delenv("CHATLLM_API_KEY")
    monkeypatch.delenv("CHATLLM_MODEL")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
    result = run("ask", "-c", "go on")
    assert (result.exit_code, len(provider.chats)) == (2, 1)
    assert "there is no provider 'default' now" in result.stderr


@pytest.mark.parametrize("key", ["sk-canary-123456\n", "  sk-canary-123456\r\n"])
def test_a_key_with_a_newline_around_it_is_taken_without(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("CHATLLM_API_KEY", key)
    assert run("ask", "hi").exit_code == 0
    assert provider.chats[0].headers["Authorization"] == "Bearer sk-canary-123456"


@pytest.mark.parametrize("key", ["sk-canary\n123456", "sk-cänary", "sk-canary\x1b"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(
    run: Run, provider: FakeOpenAI, home: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("CHATLLM_API_KEY", key)
    result = run("ask", "hi")
    expected = "environment variable CHATLLM_API_KEY: api_key: expected a key of ASCII characters, without blanks"
    assert (result.exit_code, result.stderr) == (2, f"chatllm: {expected}\n")
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("SSL_CERT_FILE", "/nonexistent"), ("ALL_PROXY", "socks5://127.0.0.1:9")],
)
def test_a_connection_that_cannot_be_set_up_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("CHATLLM_BASE_URL", "https://host.invalid/v1")
    result = run("ask", "-m", "m", "hi")
    assert result.exit_code == 2
    assert result.stderr.startswith("chatllm: no connection to host.invalid can be set up: ")
    assert result.stderr.splitlines()[1:] == ["  hint: check SSL_CERT_FILE and the proxy variables"]


def test_what_is_not_kept_is_not_said_to_be(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "--no-history", "-m", "cut-3", "hi")
    assert (result.exit_code, len(result.stderr.splitlines())) == (6, 1)


def test_a_server_that_wants_a_key_says_so(run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHATLLM_API_KEY")
    assert " wants a key: Incorrect API key provided\n" in run("ask", "-m", "fault-401", "hi").stderr


def test_a_busy_provider_is_waited_for_and_each_wait_is_one_line_on_a_pipe(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_RETRIES__FIRST_DELAY", "0.01")
    host = provider.base_url.split("/")[2]
    result = run("ask", "-m", "flaky-503-2", "hi")
    assert (result.exit_code, result.stdout, len(provider.chats)) == (0, "fine", 3)
    assert result.stderr == (
        f"{host} failed with status 503, retry 1/5 in 1 s\n{host} failed with status 503, retry 2/5 in 1 s\n"
    )


def test_waits_are_json_too_when_json_is_asked_for(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = provider.base_url.split("/")[2]
    result = run("ask", "--json", "-m", "flaky-429-1:retry-after-ms=10", "hi")
    assert (result.exit_code, json.loads(result.stdout)["text"]) == (0, "fine")
    assert json.loads(result.stderr) == {"notice": f"rate limited by {host}, retry 1/5 in 1 s"}


@pytest.mark.parametrize(
    ("model", "options", "requests", "hint"),
    [
        ("fault-429:retry-after=121", [], 1, "it asks to wait 2 min, longer than --max-wait (60 s)"),
        ("fault-429:retry-after=121", ["--max-wait", "0"], 1, "it asks to wait 2 min, longer than --max-wait (0 s)"),
        ("fault-503:retry-after=90000", [], 1, "it asks to wait 25 hours, longer than --max-wait (60 s)"),
        (
            "fault-429:retry-after-ms=300", ["--max-wait", "0.7"], 3,
            "it asks for another 0 s, and 0 s of --max-wait are left",
        ),
        ("fault-429:retry-after-ms=10", [], 6, "gave up after 5 retries; --max-wait SECONDS tries for longer"),
    ],
)  # fmt: skip
def test_no_wait_is_longer_than_asked_for_and_the_hint_says_why_it_ended(
    run: Run, provider: FakeOpenAI, model: str, options: list[str], requests: int, hint: str
) -> None:
    result = run("ask", "-m", model, *options, "hi")
    assert len(provider.chats) == requests
    assert result.stderr.splitlines()[-1] == f"  hint: {hint}"


def test_the_time_alone_decides_when_it_is_given(run: Run, provider: FakeOpenAI) -> None:
    host = provider.base_url.split("/")[2]
    result = run("ask", "-m", "flaky-429-8:retry-after-ms=10", "--max-wait", "5", "hi")
    assert (result.exit_code, result.stdout) == (0, "fine")
    assert result.stderr.splitlines()[-1] == f"rate limited by {host}, retry 8 in 1 s"


def test_what_the_provider_says_of_trying_again_outweighs_the_status(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "-m", "flaky-400-1:x-should-retry=true:retry-after-ms=400", "hi")
    assert (result.exit_code, result.stdout, len(provider.chats)) == (0, "fine", 2)
    result = run("ask", "-m", "fault-503:x-should-retry=false", "hi")
    assert (result.exit_code, len(provider.chats)) == (5, 3)


def test_another_model_is_asked_when_one_cannot_answer(run: Run, provider: FakeOpenAI, places: Places) -> None:
    host = provider.base_url.split("/")[2]
    result = run("ask", "-m", "quota", "--fallback", "quota-first", "--fallback", "says-here-I-am", "hi")
    assert (result.exit_code, result.stdout) == (0, "here I am")
    assert result.stderr == (
        f"the quota at {host} is used up: You exceeded your quota; default/quota-first is asked instead\n"
        f"the quota at {host} is used up: You exceeded your quota; default/says-here-I-am is asked instead\n"
    )
    reply = journal_of(places)[-1]
    assert (reply["model"], reply["instead_of"]) == ("default/says-here-I-am", "default/quota")


def test_fallbacks_may_stand_in_the_settings_and_flags_outweigh_them(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_FALLBACK", "says-from-settings, quota")
    assert run("ask", "-m", "quota", "hi").stdout == "from settings"
    assert run("ask", "-m", "quota", "--fallback", "says-from-flags", "hi").stdout == "from flags"
    assert run("ask", "-m", "quota", "--fallback", "", "hi").exit_code == 4


def test_a_conversation_goes_back_to_its_own_model_when_that_answers_again(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "flaky-402-1", "--fallback", "says-instead", "hi")
    reply = json.loads(run("ask", "-c", "--json", "and now?").stdout)
    assert (reply["text"], reply["model"], reply["instead_of"]) == ("fine", "flaky-402-1", None)


def test_a_fallback_that_cannot_be_one_is_told_before_anything_is_asked(
    run: Run, provider: FakeOpenAI, home: Path
) -> None:
    result = run("ask", "--fallback", "local/nope", "hi")
    assert (result.exit_code, provider.chats) == (2, [])
    assert result.stderr.splitlines()[0] == (
        "chatllm: the fallback local/nope cannot be asked: there is no embedded model 'nope'"
    )
    assert list(home.rglob("*")) == []


def test_an_incomplete_answer_is_taken_up_where_it_stopped(run: Run, provider: FakeOpenAI, places: Places) -> None:
    assert run("ask", "-m", "length", "hi").exit_code == 6
    result = run("ask", "-c", "-m", "says-of-it")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "of it", "")
    assert provider.last_messages()[:2] == [("user", "hi"), ("assistant", "cut short")]
    *earlier, whole = journal_of(places)
    incomplete = next(record for record in earlier if record.get("status") == "truncated")
    assert (whole["content"], whole["status"], whole["model"]) == ("cut shortof it", "complete", "default/says-of-it")
    assert whole["continues"] == incomplete["id"]
    shown = run("history", "show")
    assert "cut shortof it" in shown.stdout
    assert shown.stderr == ""


def test_a_whole_answer_cannot_be_taken_up(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "hi")
    result = run("ask", "-c")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "chatllm: the last answer is complete: there is nothing to continue\n  hint: give a prompt to go on\n"
    )


@pytest.mark.parametrize(
    ("marker", "status", "exit_code"), [("required", "truncated", 6), ("optional", "unknown_end", 0)]
)
def test_whether_an_end_without_a_reason_is_a_cut_is_the_providers_to_say(
    run: Run, fake_openai: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch, marker: str, status: str,
    exit_code: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__END_MARKER", marker)
    result = run("ask", "-m", "work/eof", "hi")
    told = {
        "required": "the answer is cut off: the connection ended before it did",
        "optional": "the answer may be cut off: the provider did not say that it was done",
    }
    assert (result.exit_code, result.stdout) == (exit_code, "cut short")
    assert result.stderr == f"{told[marker]}; `chatllm ask -c` goes on\n"
    assert journal_of(places)[-1]["status"] == status


def test_json_is_one_object_with_all_there_is_to_know(run: Run, provider: FakeOpenAI, places: Places) -> None:
    result = run("ask", "--json", "-m", "says-grüße-\u202e", "hi")
    records = journal_of(places)
    answer = json.loads(result.stdout)
    timings = answer.pop("timings")
    assert 0 <= timings["first_text"] <= timings["total"] < 60
    assert answer == {
        "cost": 0.0,
        "text": "grüße \u202e",
        "reasoning": "",
        "status": "complete",
        "finish_reason": "stop",
        "provider": "default",
        "model": "says-grüße-\u202e",
        "instead_of": None,
        "usage": {"input_tokens": 7, "output_tokens": 3, "cached_tokens": 0},
        "cached": False,
        "error": None,
        "conversation": records[0]["id"],
        "message": records[-1]["id"],
    }
    assert (result.stdout.isascii(), result.stdout.count("\n"), result.stderr) == (True, 1, "")


@pytest.mark.parametrize(
    ("arguments", "kind", "exit_code"),
    [
        ([], "usage", 2),
        (["-c", "hi"], "conversation_not_found", 2),
        (["--temperature", "9", "hi"], "config", 2),
        (["--temperature", "warm", "hi"], "usage", 2),
        (["-m", "fault-401", "hi"], "authentication", 3),
    ],
)
def test_errors_are_json_when_json_is_asked_for(
    run: Run, provider: FakeOpenAI, arguments: list[str], kind: str, exit_code: int
) -> None:
    result = run("ask", "--json", *arguments)
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, result.stdout, error["kind"], error["exit_code"]) == (exit_code, "", kind, exit_code)
