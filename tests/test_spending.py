"""What turns cost, from the table of prices to the history and its figures."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.config.sections import PriceSettings, RetrySettings
from chatllm_cli.errors import ProviderUnavailableError
from chatllm_cli.models import Attachment, ChatOptions, Chunk, Endpoint, Message, Role, Status, TokenUsage
from chatllm_cli.services.chat.sizes import size_of
from chatllm_cli.services.history import HistoryService, records
from chatllm_cli.services.prices import Prices, _load
from tests.conftest import Run
from tests.fake_openai import USAGE, FakeOpenAI
from tests.fakes import DONE, FakeLLM, RecordingListener, chat_service
from tests.terminal import Terminal

MODEL = "default/says-hello-there"
GPT = Endpoint("openai", "gpt-4o", "https://api.openai.com/v1")
COST = 0.0041  # of the fake server's 7 tokens in and 3 out


@pytest.fixture
def priced(provider: FakeOpenAI, places: Places) -> FakeOpenAI:
    """The fake server, at a price for one of its models."""
    configure(
        places, f'[prices."{MODEL}"]\ninput = 400\noutput = 433.3333333333333\ncached_input = 100\ncontext = 100\n'
    )
    return provider


def configure(places: Places, text: str) -> None:
    places.config_file.parent.mkdir(parents=True, exist_ok=True)
    places.config_file.write_text(text)
    places.config_file.chmod(0o600)


def described(run: Run, *arguments: str) -> float | None:
    cost: float | None = json.loads(run("ask", "--json", *arguments, "hi").stdout)["cost"]
    return cost


def test_the_cost_of_an_answer_is_in_its_json_in_the_record_and_in_the_figures(
    run: Run, priced: FakeOpenAI, places: Places
) -> None:
    assert described(run) == pytest.approx(COST)
    (journal,) = places.conversations.rglob("*.jsonl")
    *_, reply = map(json.loads, journal.read_text().splitlines())
    assert reply["cost"] == pytest.approx(COST)
    (listed,) = json.loads(run("history", "list", "--json").stdout)
    (message,) = json.loads(run("history", "show", "--json").stdout)["messages"][1:]
    assert (listed["cost"], listed["unpriced"], message["cost"]) == (pytest.approx(COST), 0, pytest.approx(COST))
    assert run("history", "stats").stdout == f"{MODEL}\t1\t1\t10\t0.004100\t0\n"


def test_tokens_that_the_provider_still_had_cost_less(run: Run, priced: FakeOpenAI) -> None:
    priced.usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 5}}
    assert described(run) == pytest.approx(COST - 5 * 300e-6)


def test_an_answer_from_the_cache_costs_nothing(run: Run, priced: FakeOpenAI) -> None:
    assert [described(run, "--temperature", "0") for _ in range(2)] == [pytest.approx(COST), 0.0]


def test_a_fallback_costs_what_it_costs_itself(run: Run, priced: FakeOpenAI) -> None:
    assert described(run, "-m", "fault-402", "--fallback", MODEL) == pytest.approx(COST)


async def test_who_cannot_wait_for_the_price_of_an_answer_has_it_kept_without(places: Places) -> None:
    llm, prices = FakeLLM(), Prices({}, local_window=8192)
    prices._loading = asyncio.get_running_loop().create_future()  # noqa: SLF001  (a disk that takes for ever)
    log = HistoryService(places.conversations).start("t", model=GPT.address)
    llm.reply("whole")
    turn = asyncio.ensure_future(
        chat_service(llm, prices=prices).send(log, "hi", [GPT], ChatOptions(), RecordingListener())
    )
    await asyncio.wait([turn], timeout=0.5)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    (path,) = places.conversations.rglob("*.jsonl")
    reply = records.decode(path.read_bytes(), path.stem).messages[-1]
    assert (reply.content, reply.status, reply.cost) == ("whole", Status.COMPLETE, None)


@pytest.mark.parametrize("end", [DONE, None])
async def test_who_is_stopped_while_prices_load_has_the_answer_kept_with_its_price(
    places: Places, end: Chunk | None
) -> None:
    llm, prices = FakeLLM(), Prices({}, local_window=8192)
    loading = prices._loading = asyncio.get_running_loop().create_future()  # noqa: SLF001  (a disk that takes its time)
    log = HistoryService(places.conversations).start("t", model=GPT.address)
    if end:
        llm.reply("whole")
    else:
        llm.play(Chunk("part"), 60.0)
    chat = chat_service(llm, prices=prices)
    turn = asyncio.ensure_future(chat.send(log, "hi", [GPT], ChatOptions(), RecordingListener()))
    await asyncio.wait([turn], timeout=0.2)
    turn.cancel()
    await asyncio.wait([turn], timeout=0.1)
    if not end:
        turn.cancel()
    loading.set_result(_load())
    with pytest.raises(asyncio.CancelledError):
        await turn
    (path,) = places.conversations.rglob("*.jsonl")
    reply = records.decode(path.read_bytes(), path.stem).messages[-1]
    assert reply.cost


@pytest.mark.parametrize(("model", "cost"), [("fault-401", None), ("cut-2", 5 + 3 / 1000)])
def test_an_answer_that_broke_off_costs_about_what_was_sent_and_came(
    run: Run, priced: FakeOpenAI, places: Places, model: str, cost: float | None
) -> None:
    configure(places, f'[prices."default/{model}"]\ninput = 1000000\noutput = 1000\n')
    assert run("ask", "-m", model, "hello").exit_code != 0
    (message,) = json.loads(run("history", "show", "--json").stdout)["messages"][1:]
    assert (message["usage"], message["cost"]) == (None, cost and pytest.approx(cost))


def test_a_copy_of_a_conversation_was_paid_once(run: Run, priced: FakeOpenAI) -> None:
    run("ask", "hi")
    run("history", "fork", "@1")
    assert run("history", "stats").stdout == f"{MODEL}\t2\t2\t20\t0.004100\t0\n"


def test_a_pipe_gets_no_line_of_what_an_answer_took_unless_that_is_wished(
    run: Run, priced: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("ask", "hi")
    assert (result.stdout, result.stderr) == ("hello there", "")
    monkeypatch.setenv("CHATLLM_OUTPUT__USAGE", "always")
    result = run("ask", "-c", "hi")
    line = "7 in · 3 out · $0.0041 · conversation $0.0082 · context 10 %\n"
    assert (result.stdout, result.stderr) == ("hello there", line)
    assert run("ask", "--json", "hi").stderr == ""


def test_a_terminal_shows_after_each_turn_what_it_took(priced: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("chat")
    screen.wait_for("\n>")
    screen.type("hi\r")
    screen.wait_for("hello there\n7 in · 3 out · $0.0041 · conversation $0.0041 · context 10 %\n>")
    screen.type("hi\r")
    screen.wait_for("hello there\n7 in · 3 out · $0.0041 · conversation $0.0082 · context 10 %\n>")


def test_the_line_comes_after_whatever_else_there_is_to_say(
    provider: FakeOpenAI, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("ask", "-m", "length", "hi")
    assert screen.wait() == 6
    told = "the answer is cut off: it reached the limit on its length; `chatllm ask -c` goes\non"
    assert screen.text == f"cut short\n{told}\n7 in · 3 out"


EXPECTED_PAIR = "expected input and output, one with the other: { input = 2.5, output = 10 }"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('[prices."openai/m"]\ninput = 1\n', f'prices."openai/m": {EXPECTED_PAIR}'),
        (
            '[prices."openai/m"]\ncached_input = 1\n',
            f'prices."openai/m": {EXPECTED_PAIR}',
        ),
        (
            '[prices."openai/m"]\ninput = -1\noutput = 1\n',
            'prices."openai/m".input: expected a number greater than or equal to 0',
        ),
        ('[prices."openai/m"]\nprice = 1\n', 'prices."openai/m".price is not a setting'),
        ("[prices.m]\ncontext = 1\n", 'prices.m: expected a model, such as [prices."openai/gpt-4o-mini"]'),
    ],
)
def test_a_price_that_cannot_be_used_is_one_line(run: Run, places: Places, table: str, told: str) -> None:
    configure(places, table)
    result = run("ask", "hi")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"chatllm: {places.config_file}: {told}")


LONG = "word " * 60
FITS_NOT = "the conversation is about 1[0-9]{2} tokens, and default/says-hello-there reads at most 100"


def test_a_conversation_that_does_not_fit_is_refused_with_its_size(run: Run, priced: FakeOpenAI) -> None:
    run("ask", LONG)
    result = run("ask", "-c", LONG)
    told, hint = result.stderr.splitlines()
    assert (result.exit_code, result.stdout, len(priced.chats)) == (5, "", 1)
    assert re.fullmatch(f"chatllm: {FITS_NOT}", told)
    assert (
        hint
        == "  hint: --trim oldest leaves out the oldest turns, --trim summarise sums them up; the history keeps them"
    )
    assert json.loads(run("ask", "--json", "-c", LONG).stderr)["error"]["kind"] == "context_length"


def test_its_oldest_turns_are_left_out_if_that_is_wished(run: Run, priced: FakeOpenAI) -> None:
    run("ask", LONG)
    result = run("ask", "--trim", "oldest", "-c", f"{LONG}again")
    assert (result.exit_code, result.stdout) == (0, "hello there")
    assert re.fullmatch(
        r"left out of the request: the 2 oldest messages, about \d+ tokens; the history keeps them\n", result.stderr
    )
    assert priced.last_messages() == [("user", f"{LONG}again")]
    assert len(json.loads(run("history", "show", "--json").stdout)["messages"]) == 4


def test_or_summed_up_for_which_the_answer_pays(
    run: Run, priced: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("ask", LONG)
    monkeypatch.setenv("CHATLLM_TRIM", "summarise")
    result = run("ask", "--json", "-c", f"{LONG}again")
    assert json.loads(result.stderr)["notice"].startswith("summed up in the request: the 2 oldest messages")
    assert priced.last_messages()[0][0] == "system"
    assert priced.last_messages()[0][1].endswith("summed up:\nhello there")
    summaries = len(priced.chats) - 2
    assert summaries >= 1
    assert json.loads(result.stdout)["cost"] == pytest.approx((summaries + 1) * COST)


@pytest.mark.parametrize("trim", ["sometimes", ""])
def test_a_trim_that_there_is_not_is_a_usage_error(run: Run, priced: FakeOpenAI, trim: str) -> None:
    assert (run("ask", "--trim", trim, "hi").exit_code, priced.chats) == (2, [])


HUB = Endpoint("hub", "m", "https://hub.example/v1")
DEAR = {"hub/m": PriceSettings(input=1e6, output=1e6)}
HI = size_of(((Role.USER, "hi"),)).likely
THOUGHT = Chunk(reasoning="so long a thought ", usage=TokenUsage(20, 5))


@pytest.mark.parametrize(("thought", "cost"), [(THOUGHT, 25 + 10), (replace(THOUGHT, usage=None), HI + 4 + 10)])
async def test_a_try_that_broke_off_while_it_thought_is_paid_too(places: Places, thought: Chunk, cost: float) -> None:
    llm, listener = FakeLLM(), RecordingListener()
    chat = chat_service(llm, prices=Prices(DEAR, local_window=8192), retries=RetrySettings(first_delay=0.01))
    log = HistoryService(places.conversations).start("t", model=HUB.address)
    llm.play(thought, ProviderUnavailableError("it broke"))
    llm.reply("whole")
    reply = await chat.send(log, "hi", [HUB], ChatOptions(), listener)
    assert (reply.content, reply.usage, reply.reasoning, reply.cost) == ("whole", TokenUsage(7, 3), "", cost)


async def test_what_taking_up_an_answer_cost_is_kept_though_it_brought_no_text(places: Places) -> None:
    llm, listener = FakeLLM(), RecordingListener()
    chat = chat_service(llm, prices=Prices(DEAR, local_window=8192), retries=RetrySettings(max_retries=0))
    log = HistoryService(places.conversations).start("t", model=HUB.address)
    llm.reply("half", end=Chunk(finish_reason="length", usage=TokenUsage(7, 3)))
    await chat.send(log, "hi", [HUB], ChatOptions(), listener)
    for script in ([ProviderUnavailableError("it broke")], [THOUGHT, ProviderUnavailableError("it broke")]):
        llm.play(*script)
        with pytest.raises(ProviderUnavailableError):
            await chat.go_on(log, [HUB], ChatOptions(), listener)
    assert [message.cost for message in log.conversation.messages[1:]] == [10, 25]
    assert log.conversation.last_text == "half"


async def test_a_title_is_asked_for_with_the_options_of_its_model_but_for_those_of_its_answers(
    places: Places,
) -> None:
    options = ChatOptions(temperature=0.5, max_tokens=9, stop=("a",), extra=(("provider", '{"zdr": true}'),))
    llm = FakeLLM()
    llm.reply("A title")
    log = HistoryService(places.conversations).start("t", model=HUB.address)
    assert await chat_service(llm).title(log, replace(HUB, options=options)) == "A title"
    assert llm.requests[0].options == replace(options, max_tokens=30, stop=())


async def test_what_was_attached_is_named_for_a_title_and_not_sent_again(places: Places) -> None:
    llm = FakeLLM()
    llm.reply("A title")
    log = HistoryService(places.conversations).start("t", model=HUB.address)
    attached = (
        Attachment("a.py", "text/plain", 8, "print(1)"),
        Attachment("a.png", "image/png", 70, sha256="a" * 64),
    )
    prompt = Message("u1", Role.USER, "What is it?", datetime(2026, 7, 1, tzinfo=UTC), attachments=attached)
    await log.add(prompt)
    assert await chat_service(llm).title(log, HUB) == "A title"
    assert llm.requests[0].messages[0] == (Role.USER, '[attached: "a.py", "a.png"]\n\nWhat is it?')
    assert log.conversation.messages == (prompt,)
