import resource
import socket
from collections.abc import Iterator

import pytest

from chatllm_cli.config.sections import TimeoutSettings
from chatllm_cli.errors import ChatllmError, ProviderTimeoutError, ProviderUnavailableError, UsageError
from chatllm_cli.services.attachments import web
from chatllm_cli.services.attachments.web import Page, fetch
from tests.page_server import PageServer

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


@pytest.mark.parametrize("path", ["/page", "/gzip", "/deflate", "/moved-5"])
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
        "http://metadata.test/",
    ],
)
async def test_an_address_of_the_machines_own_cloud_is_not_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    error = await fault_of(url)
    assert error.message == f"{url} {LINK_LOCAL}"


async def test_a_server_elsewhere_does_not_lead_to_this_machine(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_loopback", lambda url: url.startswith("http://localhost"))
    error = await fault_of(f"{server.url}/to?http://localhost:1/admin")
    assert error.message == f"{server.url}/to redirects to this machine, which is not followed"


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
