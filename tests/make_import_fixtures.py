"""Make the fixtures of foreign formats with the tools themselves: `python -m tests.make_import_fixtures TOOLS`.

Each tool is installed into an environment of its own in the folder TOOLS, unless it is there from the last time, and
asks a server on loopback with its home in a temporary folder. tests/data/imports/README.md says what each file is.
"""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from tests.documents import IMAGES
from tests.fake_openai import FakeOpenAI, Reply

NOTHING: Mapping[str, str] = MappingProxyType({})
PLACE = Path(__file__).parent / "data" / "imports"
TOOLS = {
    "llm-0.36": ["llm==0.36"],
    "llm-0.27": ["llm==0.27.1", "openai<2", "httpx"],
    "llm-0.4": ["llm==0.4.1", "openai<1", "setuptools"],
    "llm-0.3": ["llm==0.3", "openai<1", "setuptools"],
    "shell-gpt": ["shell-gpt==1.5.1", "click"],
    "gptme": ["gptme==0.35.1"],
}
# `deltas` is the model of the server that says what it is told to; `length` is cut.
LLM_MODELS = """\
- {{model_id: harbour, model_name: deltas, api_base: "{url}", supports_tools: true, vision: true}}
- {{model_id: hasty, model_name: length, api_base: "{url}"}}
"""
ROLE = """{"name": "Pilot", "role": "You are Pilot\\nAnswer as a harbour pilot would."}"""
VERSION_CALL: Reply = {
    "tool_calls": [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "llm_version", "arguments": "{}"}}
    ]
}

# Goes on from the first answer of all in another way: llm's own command has no word for that yet.
FORK = """
import llm, sqlite_utils
from llm.logs import LogStore
store = LogStore(sqlite_utils.Database(llm.user_dir() / "logs.db"))
turn = next(store.db.query("SELECT * FROM turns ORDER BY id LIMIT 1"))
conversation = llm.get_model(turn["model"]).conversation()
conversation.id = store.fork(turn["tip_message_hash"], name="Above", forked_from=turn["thread_id"])
conversation.loaded_messages = store.thread_messages(conversation.id)
response = conversation.prompt("And above it?")
response.text()
store.log(response)
"""


class Script(list[Reply]):
    """What the server says, one thing for each request; the last one again and again."""

    def __iter__(self) -> Iterator[Reply]:
        yield self.pop(0) if len(self) > 1 else self[0]


class Bench:
    """A home, the tools, and a server that they ask."""

    def __init__(self, tools: Path, folder: Path, server: FakeOpenAI) -> None:
        self.tools = tools
        self.folder = folder
        self.server = server
        self.home = folder / "home"
        self.work = self.home / "work"
        self.work.mkdir(parents=True)
        self.programs = folder / "bin"  # what gptme finds is told to the model
        self.programs.mkdir()
        for name in ("bash", "sh", "mv", "tr", "od"):
            (self.programs / name).symlink_to(shutil.which(name) or name)

    def install(self, name: str) -> None:
        environment = self.tools / name
        if not environment.exists():
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            subprocess.run([environment / "bin" / "pip", "install", "-q", *TOOLS[name]], check=True)

    def says(self, *answers: str | Reply) -> None:
        self.server.deltas = Script({"content": each} if isinstance(each, str) else each for each in answers)

    def run(self, tool: str, *arguments: str, given: bytes = b"", settings: Mapping[str, str] = NOTHING) -> None:
        environment = {
            "HOME": str(self.home),
            "PATH": str(self.programs),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "dumb",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": self.server.base_url,
            **settings,
        }
        name, program = tool.split("/")
        command: list[str | Path] = [self.tools / name / "bin" / program, *arguments]
        done = subprocess.run(
            command, env=environment, cwd=self.work, input=given, capture_output=True, timeout=120, check=False
        )
        if done.returncode:
            sys.exit(f"{tool} {arguments}: {(done.stdout + done.stderr).decode(errors='replace')}")


def make_llm(bench: Bench, version: str, name: str, *, keep: bool = False) -> None:
    """Write the database of one version of llm; with `keep`, of one that goes on with what an older one began."""
    user = bench.folder / f"llm-user-{version}"
    if keep:
        shutil.copytree(bench.folder / "llm-user-0.27", user)
    user.mkdir(exist_ok=True)
    (user / "extra-openai-models.yaml").write_text(LLM_MODELS.format(url=bench.server.base_url))

    def llm(*arguments: str, given: bytes = b"") -> None:
        bench.run(f"llm-{version}/llm", *arguments, given=given, settings={"LLM_USER_PATH": str(user)})

    if keep:
        bench.says("Am neuen Kai: 5 m.")
        llm("-c", "Und am neuen Kai?")
    say_to_llm(bench, llm)
    if name == "threads":
        bench.says("The deck.")
        bench.run(f"llm-{version}/python", "-c", FORK, settings={"LLM_USER_PATH": str(user)})
    copy_database(user / "logs.db", PLACE / "llm" / f"{name}.db", bench.work)


def make_oldest_llm(bench: Bench) -> None:
    """Write the databases of versions that knew no conversations."""
    log = bench.folder / "log-chat.db"
    asked = {"OPENAI_API_BASE": bench.server.base_url, "LLM_LOG_PATH": str(log)}
    bench.run("llm-0.3/llm", "init-db")
    bench.run(
        "llm-0.3/llm", "-m", "says-An-anchor-holds.", "--system", "Be brief.", "Was hält ein Schiff?", settings=asked
    )
    bench.run("llm-0.3/llm", "-m", "tokens-3", "Count", settings=asked)
    copy_database(bench.home / ".llm" / "log.db", PLACE / "llm" / "log.db", bench.work)
    newer = ("llm-0.4/llm", "--no-stream")
    bench.run("llm-0.4/llm", "init-db", settings=asked)
    bench.run(*newer, "-m", "says-Ahoy.", "--system", "Be brief.", "Schöne Grüße", settings=asked)
    bench.run(*newer, "-m", "tokens-3", "Count", settings=asked)
    bench.run(*newer, "--chat", "1", "-m", "says-Farewell.", "And at the end?", settings=asked)
    copy_database(log, PLACE / "llm" / "log-chat.db", bench.work)


def say_to_llm(bench: Bench, llm: Callable[..., None]) -> None:
    """Hold the conversations, the last of which can be gone on with."""
    bench.says("The keel 🚢 is the **lowest** part.", "Then the rudder.")
    llm("-m", "harbour", "-s", "Be brief. 日本語も可。", "What is a keel?")
    llm("-c", "And behind it?")
    llm("-m", "hasty", "Cut this short")
    bench.says(VERSION_CALL, "It is that version.")
    llm("-m", "harbour", "-T", "llm_version", "Which version are you?")
    bench.says("A very small picture.", "A list of boats.")
    llm("-m", "harbour", "-a", "-", "What is in it?", given=IMAGES["image/png"])
    (bench.work / "gusts.txt").write_text("Erste Bö\nZweite Bö\n")
    (bench.work / "boat.gif").write_bytes(IMAGES["image/gif"])
    llm("-m", "harbour", "-f", "gusts.txt", "-a", "boat.gif", "Sum it up")
    bench.says("Am Kai: 4 m.")
    llm("-m", "harbour", "Wie tief ist es?")


def copy_database(source: Path, target: Path, work: Path) -> None:
    """Copy a database without what nobody sees, and without the folder that its tool worked in."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with sqlite3.connect(source) as database:
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'fragments'").fetchone():
            database.execute("UPDATE attachments SET path = replace(path, ?, '')", [f"{work}/"])
            database.execute("UPDATE fragments SET source = replace(source, ?, '')", [f"{work}/"])
        database.commit()
        database.execute("PRAGMA page_size = 512")
        database.execute("VACUUM INTO ?", [str(target)])
    target.chmod(0o644)


def make_shell_gpt(bench: Bench) -> None:
    roles = bench.home / ".config" / "shell_gpt" / "roles"
    roles.mkdir(parents=True)
    (roles / "Pilot.json").write_text(ROLE)
    chats = bench.folder / "chats"
    settings = {
        "CHAT_CACHE_PATH": str(chats),
        "CACHE_PATH": str(bench.folder / "cache"),
        "API_BASE_URL": bench.server.base_url,
        "OS_NAME": "Linux",
        "SHELL_NAME": "bash",
        "PRETTIFY_MARKDOWN": "false",
    }
    bench.says("Slow ahead ⚓.", "Hard to port!", "Grüße zurück.")
    ask = ("shell-gpt/sgpt", "--model", "deltas", "--no-cache")
    bench.run(*ask, "--role", "Pilot", "--chat", "harbour", "How do I come in?", settings=settings)
    bench.run(*ask, "--role", "Pilot", "--chat", "harbour", "And now?\nThere is a mole.", settings=settings)
    bench.run(*ask, "--chat", "greeting", "Schöne Grüße", settings=settings)
    for name in ("harbour", "greeting"):
        copy(chats / name, PLACE / "shell_gpt" / name)


def make_gptme(bench: Bench) -> None:
    bench.says(
        "Go straight on 🧭.",
        "Look:\n\n```shell\necho 'tide: 4 m'\n```\n",
        "The tide is 4 m.",
        "Along the quay.",
    )
    ask = ("gptme/gptme", "--no-confirm", "--model", "local/deltas", "--name", "harbour-walk")
    bench.run(*ask, "--system", "Be a terse guide.", "--tools", "shell",
              "Where to?", "-", "Und die Flut, ümläut?", "-", "/exit")  # fmt: skip
    bench.run(*ask, "/undo 2", "-", "Another way?", "-", "/exit")
    logs = bench.home / ".local" / "share" / "gptme" / "logs" / "harbour-walk"
    for file in ("conversation.jsonl", *(f"branches/{each.name}" for each in (logs / "branches").iterdir())):
        copy(logs / file, PLACE / "gptme" / "harbour-walk" / file)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def main() -> None:
    with TemporaryDirectory() as folder, FakeOpenAI() as server:
        bench = Bench(Path(sys.argv[1]).absolute(), Path(folder), server)
        for name in TOOLS:
            bench.install(name)
        make_oldest_llm(bench)
        make_llm(bench, "0.27", "responses")
        make_llm(bench, "0.36", "upgraded", keep=True)
        shutil.rmtree(bench.folder / "llm-user-0.36")
        make_llm(bench, "0.36", "threads")
        make_shell_gpt(bench)
        make_gptme(bench)


if __name__ == "__main__":
    main()
