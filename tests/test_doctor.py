import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from chatllm_cli.errors import AuthenticationError, ChatllmError, ModelNotFoundError, ProviderUnavailableError
from chatllm_cli.models import Endpoint
from chatllm_cli.services.doctor import (
    Finding,
    Verdict,
    for_the_public,
    look_at_folders,
    look_at_provider,
    look_at_proxy,
    look_at_storage,
    problem,
)

OPENAI = Endpoint("openai", "gpt-5", "https://api.openai.com/v1")
MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw shared:2 - nfs4 server:/home rw
31 30 0:41 / /home/me/fast\\040disk rw - xfs /dev/sdb1 rw
32 22 0:42 / /mnt/far rw - fuse.sshfs me@host: rw
a line that is none
"""


@pytest.mark.parametrize(
    ("folder", "verdict", "detail"),
    [
        ("/data/chatllm", "ok", "the history lies on this machine (ext4)"),
        ("/homestead", "ok", "the history lies on this machine (ext4)"),
        ("/home/me/data", "hint", "the history lies on a network file system (nfs4)"),
        ("/home/me/fast disk/data", "ok", "the history lies on this machine (xfs)"),
        ("/mnt/far", "hint", "the history lies on a network file system (fuse.sshfs)"),
        ("/data/Dropbox/chatllm", "hint", "the history lies in a folder that is synced (Dropbox)"),
        ("/data/OneDrive - Work/x", "hint", "the history lies in a folder that is synced (OneDrive)"),
        (
            "/data/GoogleDrive-alice@example.org/x",
            "hint",
            "the history lies in a folder that is synced (GoogleDrive)",
        ),
        ("/data/My Dropbox", "ok", "the history lies on this machine (ext4)"),
    ],
)
def test_it_is_known_where_the_history_lies(folder: str, verdict: str, detail: str) -> None:
    finding = look_at_storage(Path(folder), MOUNTS)
    assert (finding.verdict, finding.detail) == (verdict, detail)


def test_without_a_list_of_mounts_the_file_system_is_unknown() -> None:
    assert look_at_storage(Path("/data"), "").detail == "the history lies on this machine (file system unknown)"


def test_each_folder_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir(mode=0o700)
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").write_text("")
    folders = {name: tmp_path / name for name in ("good", "open", "file", "missing")}
    folders["beyond"] = tmp_path / "file" / "x"
    assert list(look_at_folders(folders)) == [
        Finding("good", Verdict.OK, f"{tmp_path}/good (0700)"),
        Finding("open", Verdict.HINT, f"{tmp_path}/open is open to others (0755)", f"chmod 700 {tmp_path}/open"),
        Finding("file", Verdict.PROBLEM, f"{tmp_path}/file is no folder", "move it away"),
        Finding("missing", Verdict.OK, f"{tmp_path}/missing is made when it is needed"),
        Finding("beyond", Verdict.PROBLEM, f"{tmp_path}/file/x cannot be looked at: Not a directory"),
    ]


def test_no_more_of_a_synced_folder_is_shown_than_who_syncs_it(tmp_path: Path) -> None:
    names = {"a": "Dropbox (Acme)", "b": "Dropbox", "c": "Dropbox (Acme)/x"}
    found = look_at_folders({name: tmp_path / folder for name, folder in names.items()})
    shown = [for_the_public(each, tmp_path, []).detail for each in found]
    missing = "is made when it is needed"
    assert shown == [f"~/Dropbox… {missing}", f"~/Dropbox {missing}", f"~/Dropbox…/x {missing}"]


@pytest.mark.parametrize(
    ("base_url", "proxy", "finding"),
    [
        ("https://api.openai.com/v1", None, ("ok", "none on the way to api.openai.com")),
        ("https://api.openai.com/v1", "proxy:3128", ("hint", "proxy:3128 is on the way to api.openai.com")),
        ("http://127.0.0.1:8080/v1", None, ("ok", "none on the way to 127.0.0.1:8080, which is this machine")),
    ],
)
def test_a_proxy_on_the_way_is_named(base_url: str, proxy: str | None, finding: tuple[str, str]) -> None:
    found = look_at_proxy(replace(OPENAI, base_url=base_url), proxy)
    assert (found.verdict, found.detail) == finding


class Listed:
    """A provider that lists these models, or fails so."""

    def __init__(self, answer: list[str] | ChatllmError) -> None:
        self._answer = answer

    async def list_models(self, _: Endpoint) -> list[str]:
        if isinstance(self._answer, ChatllmError):
            raise self._answer
        return self._answer


ANSWERS = ("provider", "ok", "openai answers at https://api.openai.com")


@pytest.mark.parametrize(
    ("endpoint", "answer", "findings"),
    [
        (
            OPENAI,
            ["gpt-4", "gpt-5"],
            [ANSWERS, ("key", "ok", "openai takes it"), ("model", "ok", "openai/gpt-5 is there")],
        ),
        (
            OPENAI,
            ["gpt-4"],
            [
                ANSWERS,
                ("key", "ok", "openai takes it"),
                ("model", "hint", "openai/gpt-5 is not in the list of its models"),
            ],
        ),
        (OPENAI, AuthenticationError("openai rejected the key"), [("key", "problem", "openai rejected the key")]),
        (
            OPENAI,
            ProviderUnavailableError("no connection to openai"),
            [("provider", "problem", "no connection to openai")],
        ),
        (
            OPENAI,
            ProviderUnavailableError("openai failed with status 500", words="alice@example.org is out of luck"),
            [("provider", "problem", "openai failed with status 500")],
        ),
        (
            OPENAI,
            ModelNotFoundError("openai has no model ''"),
            [("provider", "hint", "openai answers at https://api.openai.com, but does not list its models")],
        ),
        (
            Endpoint("openrouter", "meta/llama", "https://openrouter.ai/api/v1"),
            ["meta/llama"],
            [
                ("provider", "ok", "openrouter answers at https://openrouter.ai"),
                ("key", "ok", "not tried: openrouter shows its models to anybody"),
                ("model", "ok", "openrouter/meta/llama is there"),
            ],
        ),
        (
            Endpoint("gemini", "gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai"),
            ["models/gemini-2.5-pro"],
            [
                ("provider", "ok", "gemini answers at https://generativelanguage.googleapis.com"),
                ("key", "ok", "gemini takes it"),
                ("model", "ok", "gemini/gemini-2.5-pro is there"),
            ],
        ),
    ],
)
async def test_a_provider_is_looked_at(
    endpoint: Endpoint, answer: list[str] | ChatllmError, findings: list[tuple[str, str, str]]
) -> None:
    found = [each async for each in look_at_provider(endpoint, Listed(answer))]
    assert [(each.about, each.verdict, each.detail) for each in found] == findings


class Dripping:
    """A provider that never comes to the end of its list."""

    async def list_models(self, _: Endpoint) -> list[str]:
        while True:
            await asyncio.sleep(0.01)


async def test_a_provider_that_hangs_is_given_up() -> None:
    found = [each async for each in look_at_provider(OPENAI, Dripping(), patience=0.05)]
    assert [(each.about, each.verdict, each.detail) for each in found] == [
        ("provider", "problem", "openai did not list its models within 0.05 seconds")
    ]


def test_what_the_system_says_of_a_connection_is_told() -> None:
    error = ProviderUnavailableError("no connection to openai", words="connection refused")
    error.__cause__ = ConnectionRefusedError()
    assert problem("provider", error).detail == "no connection to openai: connection refused"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("its address is https://host/v1", "its address is https://host"),
        ("is https://host:8080/tok3n/v1 the address?", "is https://host:8080 the address?"),
        ("redirects to https://sso.example/login?user=me&token=x, and", "redirects to https://sso.example, and"),
        ("redirects to /login?user=me&token=x, and", "redirects to /login, and"),
        ("http://me:password@host/v1.", "http://host."),
        ("http://tok3n@host", "http://host"),
        ("http://me:pass/word@host", "http://…"),
        ("is the server running? it may be", "is the server running? it may be"),
    ],
)
def test_addresses_are_told_as_far_as_their_hosts(said: str, told: str) -> None:
    finding = problem("provider", ChatllmError(said, hint=said))
    assert (finding.detail, finding.hint) == (told, told)


@pytest.mark.parametrize(
    ("home", "said", "told"),
    [
        ("/home/al", "/home/al/data", "~/data"),
        ("/home/al", "/home/al", "~"),
        ("/home/al", "/home/al:3: no", "~:3: no"),
        ("/home/al", "/home/alice/data", "/home/alice/data"),
        ("/home/al", "/home/al.old/data", "/home/al.old/data"),
        ("/home/al", "/mnt/home/al/data", "/mnt/home/[user]/data"),
        ("/home/al", "/scratch/al", "/scratch/[user]"),
        ("/home/al", "the algae of al", "the algae of al"),
        ("/", "/data", "/data"),
        ("/srv", "/srv/data", "/srv/data"),
        ("/al", "/al/data", "~/data"),
        ("/home/al", "/mnt/OneDrive - Acme Corp/data is", "/mnt/OneDrive…/data is"),
        ("/home/al", "/mnt/al.ice@example.org/x", "/mnt/[mail address]/x"),
    ],
)
def test_nobody_learns_whose_it_is(home: str, said: str, told: str) -> None:
    assert for_the_public(Finding("x", Verdict.OK, said), Path(home), [], "al").detail == told


def test_a_home_behind_a_link_is_known_by_both_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    finding = Finding("x", Verdict.OK, f"{tmp_path}/link/a", f"{tmp_path}/real/b")
    shown = for_the_public(finding, tmp_path / "link", [])
    assert (shown.detail, shown.hint) == ("~/a", "~/b")


def test_a_key_of_any_length_is_no_part_of_what_is_shown() -> None:
    finding = Finding("x", Verdict.OK, "(k3y) but whisk3y")
    assert for_the_public(finding, Path("/home/me"), ["k3y", ""]).detail == "([key of yours]) but whisk3y"


def test_what_is_shown_to_anybody_has_no_secret_and_no_name_in_it() -> None:
    token = "ghp_" + "a" * 36
    finding = Finding("x", Verdict.OK, f"/home/me/data {token} and my-own-key", "chmod 700 /home/me/data")
    assert for_the_public(finding, Path("/home/me"), ["my-own-key"]) == Finding(
        "x", Verdict.OK, "~/data [GitHub token] and [key of yours]", "chmod 700 ~/data"
    )
    assert for_the_public(finding, Path("/"), []).hint == "chmod 700 /home/me/data"
