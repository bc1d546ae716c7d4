import shutil
import socket
import ssl
from pathlib import Path

import httpx2
import pytest

from chatllm_cli.config.sections import LimitSettings, LocalSettings, TimeoutSettings
from chatllm_cli.errors import ConfigError, ProviderError, ProviderUnavailableError
from chatllm_cli.models import Endpoint
from chatllm_cli.services.llm import LLMService
from chatllm_cli.services.llm.http_client import build_client, pace_of, proxy_to
from chatllm_cli.services.local.engine import LocalModel
from tests.fake_openai import FakeOpenAI
from tests.page_server import PageServer, certificate_for

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


@pytest.mark.parametrize(
    ("base_url", "read"),
    [
        ("http://127.0.0.1:8080/v1", []),
        ("http://api.example/v1", []),
        ("https://api.example/v1", [True]),
        ("https://127.0.0.1/v1", [False]),
    ],
)
def test_certificates_are_read_only_for_what_is_encrypted(base_url: str, read: list[bool]) -> None:
    asked: list[bool] = []

    def new_tls(*, trust_env: bool) -> ssl.SSLContext:
        asked.append(trust_env)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    build_client(Endpoint("work", "", base_url), TimeoutSettings(), 1, new_tls=new_tls)
    assert asked == read


async def test_certificates_are_read_once_for_all_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bool] = []

    def new_tls(*, trust_env: bool) -> ssl.SSLContext:
        read.append(trust_env)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(httpx2, "create_ssl_context", new_tls)
    llm = LLMService(LocalModel(LocalSettings()), TimeoutSettings(connect=0.01), LimitSettings())
    for host in ("one.invalid", "two.invalid"):
        with pytest.raises(ProviderError):
            await llm.list_models(Endpoint("work", "", f"https://{host}/v1"))
    await llm.aclose()
    assert read == [True]


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl to make a certificate")
@pytest.mark.parametrize("is_known", [True, False])
async def test_a_server_is_asked_only_if_its_certificate_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_known: bool
) -> None:
    certificate, key = certificate_for("api.test", tmp_path)
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    there = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *others, **named: there("127.0.0.1", *others, **named))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    llm = LLMService(LocalModel(LocalSettings()), TimeoutSettings(), LimitSettings())
    with PageServer({"/v1/models": ("application/json", b'{"data": [{"id": "a"}]}')}, tls=tls) as server:
        endpoint = Endpoint("work", "", f"https://api.test:{server.port}/v1")
        if is_known:
            assert await llm.list_models(endpoint) == ["a"]
        else:
            with pytest.raises(ProviderUnavailableError, match="certificate"):
                await llm.list_models(endpoint)
        assert len(server.headers) == is_known
    await llm.aclose()


async def test_a_proxy_on_the_way_is_asked(fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", fake_openai.base_url.removesuffix("/v1"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    llm = LLMService(LocalModel(LocalSettings()), TimeoutSettings(), LimitSettings())
    assert await llm.list_models(Endpoint("work", "", "http://api.invalid/v1")) == fake_openai.models[::-1]
    await llm.aclose()
    assert [seen.path for seen in fake_openai.seen] == ["http://api.invalid/v1/models"]
