"""Nothing goes anywhere but to the configured address, whatever environment and current folder say."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_openai import FakeOpenAI

WATCHED = Path(__file__).with_name("watched.py")
KEY = "sk-canary-of-the-user"

TRACING = {
    "LANGSMITH_TRACING": "true",
    "LANGSMITH_TRACING_V2": "true",
    "LANGCHAIN_TRACING_V2": "true",
    "LANGSMITH_API_KEY": "ls-key",
    "LANGSMITH_ENDPOINT": "{sink}",
    "LANGCHAIN_ENDPOINT": "{sink}",
}
HOSTILE = {
    "langsmith": TRACING,
    "langsmith without a key": {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": "{sink}"},
    "langsmith with runs endpoints": TRACING | {"LANGSMITH_RUNS_ENDPOINTS": '{"{sink}": "key"}'},
    "langsmith gateway": {
        "LANGSMITH_GATEWAY": "true",
        "LANGSMITH_API_KEY": "ls-key",
        "LANGSMITH_GATEWAY_URL": "{sink}",
    },
    "langchain of old": {
        "LANGCHAIN_TRACING": "true",
        "LANGCHAIN_HANDLER": "langchain",
        "LANGCHAIN_ENDPOINT": "{sink}",
    },
    "openai address": {"OPENAI_BASE_URL": "{sink}"},
    "openai address of old": {"OPENAI_API_BASE": "{sink}"},
    "openai proxy": {"OPENAI_PROXY": "{sink}"},
    "openai key": {"OPENAI_API_KEY": "sk-of-somebody", "OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "project"},
    "openai headers": {"OPENAI_CUSTOM_HEADERS": "X-Leak: yes", "OPENAI_ADMIN_KEY": "sk-admin"},
    "azure": {"AZURE_OPENAI_ENDPOINT": "{sink}", "AZURE_OPENAI_API_KEY": "sk-azure", "OPENAI_API_TYPE": "azure"},
    "proxies": {"HTTP_PROXY": "{sink}", "HTTPS_PROXY": "{sink}", "ALL_PROXY": "{sink}"},
    "proxies in small letters": {"http_proxy": "{sink}", "https_proxy": "{sink}", "all_proxy": "{sink}"},
    "hub": {"HF_ENDPOINT": "{sink}", "HF_TOKEN": "hf-token"},
    "telemetry": {"OTEL_EXPORTER_OTLP_ENDPOINT": "{sink}", "SENTRY_DSN": "{sink}", "LANGFUSE_HOST": "{sink}"},
    "other providers": {"GROQ_API_KEY": "gsk", "ANTHROPIC_API_KEY": "sk-ant", "ANTHROPIC_BASE_URL": "{sink}"},
    "certificates of nobody": {"REQUESTS_CA_BUNDLE": "/nowhere", "CURL_CA_BUNDLE": "/nowhere"},
    "all at once": TRACING
    | {"OPENAI_BASE_URL": "{sink}", "OPENAI_API_BASE": "{sink}", "OPENAI_PROXY": "{sink}", "OPENAI_ORG_ID": "org"}
    | {"HTTP_PROXY": "{sink}", "ALL_PROXY": "{sink}", "LANGSMITH_GATEWAY": "true", "HF_ENDPOINT": "{sink}"},
}


@pytest.fixture
def sink() -> Iterator[FakeOpenAI]:
    """Where hostile variables lead."""
    with FakeOpenAI() as sink:
        yield sink


def run_watched(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[str, set[str]]:
    """Run a command in `folder`, and return its output and whom it looked up or connected to."""
    log = folder / "addresses.log"
    done = subprocess.run(
        [sys.executable, str(WATCHED), str(log), *arguments],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert KEY not in done.stdout + done.stderr
    seen = {json.loads(line) for line in log.read_text().splitlines()} if log.exists() else set()
    return done.stdout, seen


def host_of(fake: FakeOpenAI) -> str:
    return fake.base_url.removeprefix("http://").removesuffix("/v1")


def replaced(variables: dict[str, str], sink: FakeOpenAI) -> dict[str, str]:
    return {name: value.replace("{sink}", sink.base_url) for name, value in variables.items()}


def check_only_the_needed_was_sent(fake: FakeOpenAI) -> None:
    assert {request.headers["Authorization"] for request in fake.seen} == {f"Bearer {KEY}"}
    allowed = {"host", "connection", "accept", "content-type", "content-length", "user-agent", "accept-encoding"}
    sent = {name.lower() for request in fake.seen for name in request.headers}
    assert sent - allowed == {"authorization"}


def own(fake: FakeOpenAI) -> dict[str, str]:
    """What the user set up."""
    return {"CHATLLM_BASE_URL": fake.base_url, "CHATLLM_API_KEY": KEY, "CHATLLM_MODEL": "default/says-hello"}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_environment_leads_nowhere(
    tmp_path: Path, fake_openai: FakeOpenAI, sink: FakeOpenAI, case: str
) -> None:
    hostile = replaced(HOSTILE[case], sink)
    output, seen = run_watched(tmp_path, hostile | own(fake_openai), "ask", "hi")
    assert (output, seen - {"127.0.0.1"}, sink.seen) == ("hello", {host_of(fake_openai)}, [])
    check_only_the_needed_was_sent(fake_openai)
    assert {path.name for path in tmp_path.iterdir()} == {
        "home",
        "addresses.log",
    }  # what is written is written at home


def test_neither_does_it_when_models_are_listed(tmp_path: Path, fake_openai: FakeOpenAI, sink: FakeOpenAI) -> None:
    hostile = replaced(HOSTILE["all at once"], sink)
    output, seen = run_watched(tmp_path, hostile | own(fake_openai), "models", "list", "--provider", "default")
    assert (output, seen - {"127.0.0.1"}) == ("default/says-hello\ndefault/tokens-5\n", {host_of(fake_openai)})
    assert sink.seen == []
    check_only_the_needed_was_sent(fake_openai)


def test_it_would_be_seen_if_anything_went_elsewhere(
    tmp_path: Path, fake_openai: FakeOpenAI, sink: FakeOpenAI
) -> None:
    wished = replaced(TRACING, sink) | {"CHATLLM_PRIVACY__TRACING": "true"}
    output, seen = run_watched(tmp_path, wished | own(fake_openai), "ask", "hi")
    assert (output, host_of(sink) in seen) == ("hello", True)


FOLDERS = {
    ".env": "CHATLLM_BASE_URL={sink}\nOPENAI_BASE_URL={sink}\nCHATLLM_API_KEY=sk-of-the-folder\n",
    ".env.local": "CHATLLM_BASE_URL={sink}\n",
    "config.toml": 'base_url = "{sink}"\napi_key = "sk-of-the-folder"\n',
    "chatllm.toml": 'base_url = "{sink}"\n',
    ".chatllm/config.toml": 'base_url = "{sink}"\n',
    "chatllm/config.toml": 'base_url = "{sink}"\n',
    ".config/chatllm/config.toml": 'base_url = "{sink}"\n',
    "pyproject.toml": '[tool.chatllm]\nbase_url = "{sink}"\n',
    "keys.json": '{"default": {"host": "x", "store": "file", "key": "sk-of-the-folder"}}',
    "sitecustomize.py": "raise SystemExit(99)\n",
    "usercustomize.py": "raise SystemExit(99)\n",
    "conftest.py": "raise SystemExit(99)\n",
    "openai.py": "raise SystemExit(99)\n",
    "langchain_openai/__init__.py": "raise SystemExit(99)\n",
    "json.py": "raise SystemExit(99)\n",
    "chatllm_cli/__init__.py": "raise SystemExit(99)\n",
    "genai_prices.py": "raise SystemExit(99)\n",
    ".netrc": "machine 127.0.0.1 login me password sk-of-the-folder\n",
    "_netrc": "default login me password sk-of-the-folder\n",
    ".git/config": "[http]\n\tproxy = {sink}\n",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_hostile_folder_changes_nothing(
    tmp_path: Path, fake_openai: FakeOpenAI, sink: FakeOpenAI, name: str
) -> None:
    file = tmp_path / "project" / name
    file.parent.mkdir(parents=True)
    file.write_text(FOLDERS[name].replace("{sink}", sink.base_url))
    output, seen = run_watched(tmp_path / "project", own(fake_openai), "ask", "hi")
    assert (output, seen - {"127.0.0.1"}, sink.seen) == ("hello", {host_of(fake_openai)}, [])
    assert fake_openai.chats[0].headers["Authorization"] == f"Bearer {KEY}"


def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path, fake_openai: FakeOpenAI, sink: FakeOpenAI) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "evil.toml").write_text(f'base_url = "{sink.base_url}"\n')
    for name in ("config.toml", ".env", "data", "cache"):
        (project / name).symlink_to(tmp_path / "evil.toml")
    assert run_watched(project, own(fake_openai), "ask", "hi") == ("hello", {host_of(fake_openai)})


@pytest.mark.embedded
def test_the_embedded_model_asks_nobody_but_itself(tmp_path: Path, sink: FakeOpenAI) -> None:
    hostile = replaced(HOSTILE["all at once"], sink)
    del hostile["OPENAI_BASE_URL"]  # which chooses another model, as it should
    output, seen = run_watched(tmp_path, hostile, "ask", "--max-tokens", "5", "hi")
    assert output
    assert {address.partition(":")[0] for address in seen} == {"127.0.0.1"}
    assert sink.seen == []


@pytest.mark.parametrize("command", ["--help", "history list", "config show", "keys list", "models providers"])
def test_looking_opens_no_connection(tmp_path: Path, command: str) -> None:
    _, seen = run_watched(tmp_path, {"OPENAI_API_KEY": KEY}, *command.split())
    assert seen == set()
