import resource
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatllm_cli.config.sections import TimeoutSettings
from chatllm_cli.errors import ChatllmError, ProviderTimeoutError, ProviderUnavailableError, UsageError
from chatllm_cli.services.attachments.web import Page, fetch
from tests.page_server import PageServer, certificate_for

MOST = 100_000
LINK_LOCAL = "is not read: its address is link-local, as those of cloud metadata are"


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer() as server:
        yield server


async def fault_of(url: str, timeouts: TimeoutSettings | None = None, longest: float = 5) -> ChatllmError:
    with pytest.raises(ChatllmError) as raised:
        await fetch(url, MOST, timeouts or TimeoutSettings(), longest=longest)
    return raised.value


@pytest.mark.parametrize("path", ["/page", "/gzip", "/members", "/deflate", "/moved-5"])
async def test_a_page_comes_as_it_is_unpacked_and_from_where_it_moved(server: PageServer, path: str) -> None:
    assert await fetch(server.url + path, MOST, TimeoutSettings()) == Page(b"a page", "text/plain", "")


async def test_what_the_server_calls_it_is_told(server: PageServer) -> None:
    server.pages["/"] = ('Text/HTML; Charset="KOI8-R"', b"x")
    assert await fetch(server.url, MOST, TimeoutSettings()) == Page(b"x", "text/html", "KOI8-R")


@pytest.mark.parametrize(
    ("page", "is_html"),
    [
        (Page(b"x", "text/html", ""), True),
        (Page(b"x", "application/xhtml+xml", ""), True),
        (Page(b" \n<!DOCTYPE  HTML><p>", "", ""), True),
        (Page(b"<html>", "application/octet-stream", ""), True),
        (Page(b"<html>", "text/plain", ""), False),
        (Page(b"x", "", ""), False),
    ],
)
def test_a_web_page_is_one_that_is_called_so_or_begins_so(page: Page, is_html: bool) -> None:
    assert page.is_html is is_html


async def test_no_header_goes_out_that_is_not_needed(server: PageServer) -> None:
    await fetch(f"{server.url}/page", MOST, TimeoutSettings())
    assert {name.lower() for name in server.headers[0]} <= {
        "host", "connection", "user-agent", "accept", "accept-encoding"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/status-404", "HOST/status-404 cannot be read: HTTP 404 Not Found"),
        ("/status-401", "HOST/status-401 cannot be read: HTTP 401 Unauthorized"),
        ("/big", "HOST/big is 34 MB, and one attachment may be 100 kB (limits.attachment_mb)"),
        ("/endless", "HOST/endless is larger than one attachment may be: 100 kB (limits.attachment_mb)"),
        ("/br", "HOST/br came compressed in a way that was not asked for (br)"),
        ("/torn", "HOST/torn is damaged: it cannot be unpacked"),
        ("/litter", "HOST/litter is damaged: it cannot be unpacked"),
        ("/half", "HOST/half is damaged: its end is missing"),
        ("/round", "HOST/round redirects more than 5 times"),
        ("/moved-6", "HOST/moved-6 redirects more than 5 times"),
        ("/to?ftp://host/x", "ftp://host/x is no address that can be read"),
        ("/to?file:///etc/passwd", "file:///etc/passwd is no address that can be read"),
        ("/to?http://169.254.169.254/latest", f"http://169.254.169.254/latest {LINK_LOCAL}"),
        ("/to?http://[fe80::1]/", f"http://[fe80::1]/ {LINK_LOCAL}"),
        ("/to?http://[::1", " is no address that can be read"),
        ("/movie", "HOST/movie cannot be attached: it is video/mp4"),
    ],
)
async def test_what_cannot_be_attached_is_told_in_one_line(server: PageServer, path: str, told: str) -> None:
    server.pages["/movie"] = ("video/mp4", b"\0" * 100)
    error = await fault_of(server.url + path)
    assert isinstance(error, UsageError)
    assert error.message == told.replace("HOST", server.url)


async def test_no_more_of_a_bomb_is_unpacked_than_may_be(server: PageServer) -> None:
    most = 2_000_000  # which the bomb itself is not
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=r"is larger than one attachment may be: 2\.0 MB"):
        await fetch(f"{server.url}/bomb", most, TimeoutSettings())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://metadata.test/",
    ],
)
async def test_an_address_of_the_machines_own_cloud_is_not_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    error = await fault_of(url)
    assert error.message == f"{url} {LINK_LOCAL}"


@pytest.mark.parametrize("url", ["http://[fd00:ec2::254]/", "http://100.100.100.200/", "http://[::ffff:6464:64c8]/"])
async def test_nor_is_one_that_is_not_link_local(url: str) -> None:
    assert (await fault_of(url)).message == f"{url} is not read: its address is one of cloud metadata"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What a name server says of names, one answer after the other; the last one stays."""
    names: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def found(host: str, *rest: object, **others: object) -> object:
        known = names.get(host, [host])
        return real(known.pop(0) if len(known) > 1 else known[0], *rest, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return names


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("http://127.0.0.1:1/admin", "this machine, which"),
        ("http://[::ffff:127.0.0.1]:1/admin", "this machine, which"),
        ("http://[64:ff9b::7f00:1]:1/admin", "this machine, which"),
        ("http://0.0.0.0:1/admin", "this machine, which"),
        ("http://[::]:1/admin", "this machine, which"),
        ("http://2130706433:1/admin", "this machine, which"),
        ("http://inside.test:1/admin", "this machine, which"),
        ("http://10.0.0.1/", "10.0.0.1, which is no public address and"),
        ("http://[fd12::1]/", "fd12::1, which is no public address and"),
        ("http://[2002:a00:1::]/", "10.0.0.1, which is no public address and"),
        ("http://100.64.0.1/", "100.64.0.1, which is no public address and"),
    ],
)
async def test_a_server_elsewhere_does_not_lead_inside(
    server: PageServer, names: dict[str, list[str]], to: str, told: str
) -> None:
    names |= {"elsewhere.test": ["127.0.0.1"], "inside.test": ["127.0.0.1"]}
    url = f"http://elsewhere.test:{server.port}/to"
    error = await fault_of(f"{url}?{to}")
    assert error.message == f"{url} redirects to {told} is not followed"
    assert len(server.headers) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_of_ones_own_may_redirect_to_this_machine(server: PageServer, host: str) -> None:
    url = f"http://{host}:{server.port}/to?{server.url}/page"
    assert (await fetch(url, MOST, TimeoutSettings())).data == b"a page"


async def test_a_name_that_leads_inside_by_the_second_look_is_refused(
    server: PageServer, names: dict[str, list[str]]
) -> None:
    names |= {"elsewhere.test": ["127.0.0.1"], "later.test": ["127.0.0.1", "10.0.0.1"]}
    url = f"http://later.test:{server.port}/to"
    error = await fault_of(f"{url}?{url}")
    assert error.message == f"{url} redirects to 10.0.0.1, which is no public address and is not followed"


async def test_the_address_that_was_checked_is_the_one_that_is_asked(
    server: PageServer, names: dict[str, list[str]]
) -> None:
    names |= {"page.test": ["127.0.0.1", "192.0.2.1"]}
    url = f"http://page.test:{server.port}/page"
    assert (await fetch(url, MOST, TimeoutSettings())).data == b"a page"
    assert names["page.test"] == ["192.0.2.1"]  # there was no second look-up
    assert server.headers[0]["Host"] == f"page.test:{server.port}"


async def test_another_address_is_tried_when_one_does_not_answer(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    url = f"http://page.test:{server.port}/page"
    assert (await fetch(url, MOST, TimeoutSettings())).data == b"a page"


async def test_a_name_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", found)
    error = await fault_of("http://page.test/")
    assert (type(error), error.message) == (
        ProviderUnavailableError, "http://page.test/ did not come: name or service not known"
    )  # fmt: skip


async def test_a_proxy_is_asked_by_name(
    server: PageServer, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    names["page.test"] = ["203.0.113.1"]
    with pytest.raises(ChatllmError):  # the proxy does not know it, either
        await fetch("http://page.test/page", MOST, TimeoutSettings(), longest=1)
    assert [headers["Host"] for headers in server.headers] == ["page.test"]


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl to make a certificate")
@pytest.mark.parametrize(("host", "is_right"), [("page.test", True), ("other.test", False)])
async def test_a_certificate_has_to_be_for_the_name(
    tmp_path: Path, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, host: str, is_right: bool
) -> None:
    names |= {"page.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
    certificate, key = certificate_for("page.test", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    asked: list[str] = []
    tls.sni_callback = lambda _, name, __: asked.append(name)
    with PageServer(tls=tls) as server:
        url = f"https://{host}:{server.port}/page"
        if is_right:
            assert (await fetch(url, MOST, TimeoutSettings())).data == b"a page"
        else:
            assert "did not come: its certificate is not valid: Hostname mismatch" in (await fault_of(url)).message
    assert asked == [host]


@pytest.mark.parametrize(
    "url", ["http://", "http://a b/", "https://host:port/", "gopher://host/", "http://\x1b[31m/"]
)
async def test_what_is_no_address_is_told(url: str) -> None:
    error = await fault_of(url)
    assert (type(error), error.hint) == (UsageError, "write https://host/path")


async def test_an_address_with_a_password_is_refused_without_showing_it(server: PageServer) -> None:
    error = await fault_of("http://me:hunter2@127.0.0.1/x")
    assert error.message == "http://127.0.0.1/x: there is a user name or a password in the address"


async def test_a_server_that_fails_or_is_not_there_is_the_networks_fault(server: PageServer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    told = [await fault_of(url) for url in (f"{server.url}/status-503", f"{server.url}/cut", gone)]
    assert [(type(error), error.message) for error in told] == [
        (ProviderUnavailableError, f"{server.url}/status-503 cannot be read: HTTP 503 Service Unavailable"),
        (ProviderUnavailableError, f"{server.url}/cut did not come: the connection was closed too early"),
        (ProviderUnavailableError, f"{gone} did not come: connection refused"),
    ]


async def test_a_server_is_not_waited_for_for_ever(server: PageServer) -> None:
    silent = await fault_of(f"{server.url}/silent", TimeoutSettings(idle=0.1))
    slow = await fault_of(f"{server.url}/slow", longest=0.2)
    assert [(type(error), error.message) for error in (silent, slow)] == [
        (ProviderTimeoutError, f"{server.url}/silent did not answer in time"),
        (ProviderTimeoutError, f"{server.url}/slow did not come in 0.2 s"),
    ]
