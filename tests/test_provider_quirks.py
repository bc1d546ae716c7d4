"""What an endpoint knows of its provider and its model besides the address."""

from dataclasses import replace

from chatllm_cli.models import ChatOptions
from tests.test_providers import ANTHROPIC, OPENAI, providers

GENERAL = {"temperature": 0.5, "seed": 1, "stop": ["END"], "options": {"top_k": 5, "min_p": 0.1}}
ITS_OWN = {"temperature": 0.0, "reasoning_effort": "high", "options": {"top_k": 40}}


def test_a_models_own_options_outweigh_the_general_ones() -> None:
    known = providers(OPENAI | GENERAL | {"models": {"openai/gpt-5.1": ITS_OWN, "local/smollm2": {"max_tokens": 7}}})
    general = ChatOptions(temperature=0.5, seed=1, stop=("END",), extra=(("top_k", "5"), ("min_p", "0.1")))
    assert known.endpoint("openai/gpt-4").options == general
    assert known.endpoint("openai/gpt-5.1").options == ChatOptions(
        temperature=0.0,
        seed=1,
        stop=("END",),
        reasoning_effort="high",
        extra=(("top_k", "40"), ("min_p", "0.1")),
    )
    assert known.endpoint("local/").options == replace(general, max_tokens=7)


def test_the_list_of_models_is_asked_for_as_the_provider_wants_it() -> None:
    endpoint = providers(ANTHROPIC).catalogue("anthropic")
    assert (endpoint.key_header, endpoint.headers) == ("x-api-key", (("anthropic-version", "2023-06-01"),))
    chat = providers(ANTHROPIC).endpoint("anthropic/claude")
    assert (chat.key_header, chat.headers) == ("Authorization", ())


def test_mistral_is_not_sent_what_it_refuses() -> None:
    endpoint = providers({"providers": {"mistral": {"api_key": "of-mistral"}}}).endpoint("mistral/large")
    assert (endpoint.max_tokens_field, endpoint.seed_field, endpoint.takes_usage_wish) == (
        "max_tokens",
        "random_seed",
        False,
    )


def test_a_provider_can_say_what_it_calls_the_limit_on_an_answer() -> None:
    settings = {"providers": {"work": {"base_url": "http://work/v1", "max_tokens_field": "max_completion_tokens"}}}
    assert providers(settings).endpoint("work/llama").max_tokens_field == "max_completion_tokens"
