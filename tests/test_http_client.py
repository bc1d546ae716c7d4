import pytest

from chatllm_cli.config.sections import LimitSettings, LocalSettings, TimeoutSettings
from chatllm_cli.errors import ConfigError
from chatllm_cli.models import Endpoint
from chatllm_cli.services.llm import LLMService
from chatllm_cli.services.llm.http_client import pace_of, proxy_to
from chatllm_cli.services.local.engine import LocalModel

PROXY = "http://alice:hunter2@proxy.example:3128"


@pytest.mark.parametrize(
    ("base_url", "variables", "proxy"),
    [
        ("https://api.example/v1", {}, None),
        ("https://api.example/v1", {"HTTPS_PROXY": PROXY}, "proxy.example:3128"),
        ("https://api.example/v1", {"HTTPS_PROXY": "proxy.example:3128"}, "proxy.example:3128"),
        ("https://api.example/v1", {"HTTPS_PROXY": "token@proxy.example"}, "proxy.example"),
        ("https://api.example/v1", {"all_proxy": "socks5://proxy.example:1080"}, "proxy.example:1080"),
        ("https://api.example/v1", {"HTTP_PROXY": PROXY}, None),
        ("http://127.0.0.1:8080/v1", {"ALL_PROXY": PROXY}, None),
        ("http://127.0.0.1:8080/v1", {"ALL_PROXY": "http://proxy:abc"}, None),
        ("http://10.1.2.3/v1", {"ALL_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, None),
        ("http://11.1.2.3/v1", {"ALL_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "proxy.example:3128"),
        ("https://a.intern.example/v1", {"ALL_PROXY": PROXY, "NO_PROXY": "*.intern.example"}, None),
        ("https://a.intern.example/v1", {"ALL_PROXY": PROXY, "NO_PROXY": ".intern.example"}, None),
        ("http://a.intern.example/v1", {"ALL_PROXY": PROXY, "NO_PROXY": "http://a.intern.example"}, None),
        (
            "https://a.intern.example/v1",
            {"ALL_PROXY": PROXY, "NO_PROXY": "http://a.intern.example"},
            "proxy.example:3128",
        ),
        ("https://api.example/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
    ],
)
def test_the_proxy_on_the_way_is_the_one_that_the_client_takes(
    base_url: str, variables: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_to(base_url) == proxy


ODD_PROXIES = [
    "http://alice:hunter2#x@proxy:3128",
    "http://alice:hunter/2@proxy:3128",
    "alice:hunter/2@proxy:3128",
    "http://hunter2#x@proxy:3128",
    "http://hunter2?x@proxy:3128",
    "http://proxy:hunter2",
    "ftp://alice:hunter2@proxy",
    "http://:hunter2@",
    "?hunter2",
]


@pytest.mark.parametrize("value", ODD_PROXIES)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_variable_without_an_address_is_named_and_not_quoted(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        proxy_to("https://api.example/v1")
    assert caught.value.message == f"the proxy variable {name} is no address"
    assert "hunter" not in str(caught.value.hint)


async def test_no_request_is_made_where_a_proxy_variable_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", ODD_PROXIES[0])
    llm = LLMService(LocalModel(LocalSettings()), TimeoutSettings(), LimitSettings())
    with pytest.raises(ConfigError, match=r"^the proxy variable HTTPS_PROXY is no address$"):
        await llm.list_models(Endpoint("openai", "", "https://api.example/v1"))


async def test_an_address_that_is_none_is_not_quoted() -> None:
    llm = LLMService(LocalModel(LocalSettings()), TimeoutSettings(), LimitSettings())
    with pytest.raises(ConfigError, match=r"^no connection to work can be set up: its address is none$"):
        await llm.list_models(Endpoint("work", "", "http://host:hunter2/v1"))


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "pace"),
    [
        ("60", "0", "1m0s", 1.0),
        ("500", "0", "120ms", 0.00024),
        ("2", "0", "1h0m0.5s", 60.0),
        ("60", "1", "1m0s", 0.0),
        ("60", "0", "soon", 0.0),
        ("0", "0", "1s", 0.0),
        ("many", "0", "1s", 0.0),
    ],
)
def test_a_limit_that_is_used_up_sets_a_pace(limit: str, remaining: str, reset: str, pace: float) -> None:
    told = {"limit": limit, "remaining": remaining, "reset": reset}
    assert pace_of({f"x-ratelimit-{name}-requests": value for name, value in told.items()}) == pytest.approx(pace)


def test_without_such_headers_there_is_no_pace() -> None:
    assert pace_of({}) == 0.0
