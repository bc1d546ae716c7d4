import inspect

import pytest

from chatllm_cli.cli.request_flags import RequestFlags, with_request_flags
from chatllm_cli.config.places import Places
from chatllm_cli.errors import ConfigError, UsageError
from chatllm_cli.models import ChatOptions
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI


def test_what_is_not_said_asks_for_nothing() -> None:
    assert RequestFlags().options() == ChatOptions()


def test_what_is_said_is_asked_for() -> None:
    flags = RequestFlags(
        temperature=0.0,
        top_p=0.5,
        max_tokens=9,
        seed=0,
        stop=["END", ", and"],
        reasoning_effort="low",
        option=["top_k=40", "user=me", "ban=[1, 2]", 'quoted="1"', "formula=a=b"],
    )
    assert flags.options("{}") == ChatOptions(
        temperature=0.0,
        top_p=0.5,
        max_tokens=9,
        seed=0,
        stop=("END", ", and"),
        reasoning_effort="low",
        extra=(("top_k", "40"), ("user", '"me"'), ("ban", "[1, 2]"), ("quoted", '"1"'), ("formula", '"a=b"')),
        schema="{}",
    )


@pytest.mark.parametrize("option", ["top_k", "=40", " =40", ""])
def test_an_option_without_a_key_or_a_value_is_told(option: str) -> None:
    with pytest.raises(UsageError) as caught:
        RequestFlags(option=[option]).load()
    assert caught.value.message == f"'{option}' is no option: write KEY=VALUE"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (RequestFlags(temperature=3), "command line: temperature: expected a number less than or equal to 2"),
        (RequestFlags(top_p=0), "command line: top_p: expected a number greater than 0"),
        (RequestFlags(seed=2**63), f"command line: seed: expected a number less than {2**63}"),
        (RequestFlags(stop=[""]), "command line: stop: String should have at least 1 character"),
        (
            RequestFlags(option=["stream=false"]),
            "command line: options: 'stream' cannot be set as an option: the request says it already, or",
        ),
        (RequestFlags(option=["x=NaN"]), "command line: options: expected values that JSON has"),
    ],
)
def test_what_cannot_be_asked_for_is_told(flags: RequestFlags, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        flags.load()
    assert caught.value.message.startswith(message)


def test_flags_outweigh_a_models_own_options_and_those_the_general_ones(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    places.config_file.parent.mkdir(parents=True)
    places.config_file.write_text(
        "temperature = 0.1\ntop_p = 0.1\nseed = 1\n"
        '[models."default/says-hello"]\ntop_p = 0.2\nseed = 2\noptions = { top_k = 2, min_p = 2 }\n'
    )
    arguments = ("--seed", "3", "--option", "top_k=3", "--stop", "END")
    assert run("ask", "-m", "says-hello", *arguments, "hi").stdout == "hello"
    body = provider.chats[0].body
    asked = {key: body[key] for key in ("temperature", "top_p", "seed", "top_k", "min_p", "stop")}
    assert asked == {"temperature": 0.1, "top_p": 0.2, "seed": 3, "top_k": 3, "min_p": 2, "stop": ["END"]}


def test_an_alias_is_asked_and_the_history_has_the_models_own_name(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_ALIASES", '{"nice": "default/says-hello"}')
    assert run("ask", "-m", "nice", "hi").stdout == "hello"
    assert "default/says-hello" in run("history", "list").stdout


def test_an_option_in_a_variable_is_what_it_is_after_the_flag(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_OPTIONS__TOP_K", "5")
    monkeypatch.setenv("CHATLLM_OPTIONS__USER", "me")
    run("ask", "hi")
    body = provider.chats[0].body
    assert (body["top_k"], body["user"]) == (5, "me")


def test_the_model_is_the_one_that_is_named() -> None:
    assert RequestFlags().one_model is None
    assert RequestFlags(model=["a"]).one_model == "a"
    with pytest.raises(UsageError, match="one model at a time"):
        _ = RequestFlags(model=["a", "b"]).one_model


def test_a_command_may_do_without_some_of_the_flags() -> None:
    def command(flags: RequestFlags, word: str = "") -> None:
        given.append((flags, word))

    given: list[tuple[RequestFlags, str]] = []
    shown = inspect.signature(with_request_flags(command, but=("file", "seed"))).parameters
    everything = inspect.signature(with_request_flags(command)).parameters
    assert everything.keys() - shown.keys() == {"file", "seed"}
    with_request_flags(command, but=("file", "seed"))(
        **{name: "word" if name == "word" else parameter.default for name, parameter in shown.items()}
    )
    assert given == [(RequestFlags(), "word")]
