"""What of the benchmarks can be told without a measurement: tables, medians, and what stands around one."""

import http.client
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.figures import Figure, as_markdown, as_text
from bench.growth import Curve
from bench.instant_server import instant_server, reply_of, times_asked
from bench.processes import Command, Took, compare, compare_memory
from bench.replies import KINDS, PIECE, reply
from bench.report import BEGIN, DOCUMENT, END, machine, section, write_document
from bench.stand import Stand, clean_environment

GROUPS = {
    "peers": [
        Figure("ask / llm", [0.5, 0.7, 0.6, 0.9, 0.8], 0.75, "420 / 600 ms"),
        Figure("--version / python -c pass", [11.53], 2),
    ],
    "cache": [Figure("one hit | miss, ms", [1234.5])],
}
CURVES = [
    Curve("reply", "the stream by itself", [1_000, 10_000, 100_000], [0.01, 0.1, 1.0]),
    Curve("conversation", "one more turn", [10, 100, 1_000], [0.5, 0.5, 1.0]),
    Curve("history", "list", [1_000, 100_000], [0.13, 0.12999]),
]
TEXT = """
peers                                                                      median  quartiles        at most
------------------------------------------------------------------------------------------------------------
ask / llm                                                                     0.7  0.6-0.8             0.75 ok      420 / 600 ms
--version / python -c pass                                                   11.5                         2 MISSED"""  # noqa: E501  (as wide as a table is)
MARKDOWN = """\
### Peers

| what | median | quartiles | goal | | |
|---|---|---|---|---|---|
| ask / llm | 0.7 | 0.6-0.8 | 0.75 | ok | 420 / 600 ms |
| --version / python -c pass | 11.5 |  | 2 | **missed** |  |

### Cache

| what | median | quartiles | goal | | |
|---|---|---|---|---|---|
| one hit &#124; miss, ms | 1234 |  |  |  |  |
"""
REPORT = {
    "date": "2030-01-02",
    "conversations": 100_000,
    "machine": {"cores": 2, "cpu": "x86_64", "memory_gib": 16, "system": "Linux 6.1", "python": "3.11.7"},
    "versions": {"chatllm": "1.0", "llm": "0.36"},
    "figures": [figure.as_json(group) for group, figures in GROUPS.items() for figure in figures],
}


def python(code: str) -> Command:
    return Command([sys.executable, "-I", "-S", "-c", code], {})


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with instant_server() as url:
        yield url


def asked(base_url: str, model: str) -> http.client.HTTPResponse:
    body = json.dumps({"model": model, "stream": True}).encode()
    url = f"{base_url}/chat/completions"
    answer: http.client.HTTPResponse = urllib.request.urlopen(url, body, timeout=10)  # noqa: S310  (on loopback)
    return answer


def said(base_url: str, model: str) -> str:
    with asked(base_url, model) as answer:
        events = [line[6:] for line in answer.read().decode().splitlines() if line]
    assert events.pop() == "[DONE]"
    assert json.loads(events.pop())["usage"]["total_tokens"] > 7
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    return "".join(delta.get("content", "") for delta in deltas)


def test_the_median_of_a_figure_counts_and_half_of_its_runs_lie_in_its_spread() -> None:
    figure = Figure("x", [1.0, 100.0, 2.0, 3.0, 4.0], goal=3.0)
    assert (figure.ratio, figure.spread, figure.is_missed) == (3.0, (2.0, 4.0), False)
    assert replace(figure, goal=2.9).is_missed
    assert not replace(figure, goal=None).is_missed


def test_a_single_run_is_its_own_spread() -> None:
    assert Figure("x", [2.0]).spread == (2.0, 2.0)


def test_a_table_shows_what_was_measured_and_which_goals_are_missed() -> None:
    assert as_text("peers", GROUPS["peers"]) == TEXT


def test_a_table_of_a_document_shows_the_same() -> None:
    assert as_markdown(GROUPS) == MARKDOWN


def test_a_figure_as_json_has_each_of_its_runs() -> None:
    assert GROUPS["peers"][0].as_json("peers") == {
        "group": "peers",
        "name": "ask / llm",
        "median": 0.7,
        "quartiles": [0.6, 0.8],
        "goal": 0.75,
        "missed": False,
        "detail": "420 / 600 ms",
        "runs": [0.5, 0.7, 0.6, 0.9, 0.8],
    }


def test_slopes_tell_linear_from_constant() -> None:
    assert [curve.label() for curve in CURVES] == [
        "the stream by itself: slope 1.00, 1.00 at its end",
        "one more turn: slope 0.15, 0.30 at its end",
        "list: slope 0.00, 0.00 at its end",
    ]
    assert CURVES[0].each == pytest.approx(10e-6)


def test_a_document_is_written_only_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    write_document(REPORT, GROUPS, CURVES, document)
    write_document(REPORT, GROUPS, CURVES, document)
    written = document.read_text()
    assert written == f"before\n\n{BEGIN}\n\n{section(REPORT, GROUPS, CURVES)}\n{END}\n\nafter\n"
    assert "2 cores (x86_64), 16 GiB, Linux 6.1, Python 3.11.7.\nchatllm 1.0, llm 0.36.\n" in written
    assert "1 of 2 goals are reached." in written
    assert "![Cost against messages sent](growth/conversation.svg)\n\none more turn: slope 0.15" in written


def test_the_document_has_its_marks_and_its_plots() -> None:
    document = DOCUMENT.read_text("utf-8")
    assert [document.count(mark) for mark in (BEGIN, END)] == [1, 1]
    assert re.findall(r"\]\((growth/.*?)\)", document) == [
        f"growth/{x}.svg" for x in ("reply", "conversation", "history")
    ]
    assert all((DOCUMENT.parent / link).exists() for link in re.findall(r"\]\((growth/.*?)\)", document))


def test_a_machine_is_described_without_a_name() -> None:
    assert sorted(machine()) == ["cores", "cpu", "memory_gib", "python", "system"]


@pytest.mark.slow
def test_a_plot_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    from bench.plots import draw  # noqa: PLC0415  (it takes a second to import)

    for name in ("a", "b"):
        draw(tmp_path / f"{name}.svg", "chunks of a reply", CURVES[:1])
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()
    assert "the stream by itself: slope 1.00, 1.00 at its end" in drawn
    assert "<dc:date>" not in drawn


def test_a_command_takes_time_of_the_clock_and_of_the_processor() -> None:
    busy = python("import time\nwhile time.process_time() < 0.1: pass").run()
    waits = python("import time; time.sleep(0.2)").run()
    assert busy.cpu >= 0.1
    assert waits.cpu < 0.15
    assert waits.seconds >= 0.2


def test_a_command_that_fails_ends_the_benchmark_and_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        python("raise SystemExit('no such model')").run()
    assert "no such model" in capfd.readouterr().err


def test_a_command_on_a_terminal_sees_its_size_and_all_it_writes_is_read() -> None:
    code = "import os, sys; assert os.get_terminal_size() == (100, 30) and sys.stdin.isatty(); print('x' * 200_000)"
    assert isinstance(replace(python(code), on_terminal=True).run(), Took)


def test_a_command_is_over_once_the_text_that_it_is_waited_for_has_come() -> None:
    waits = replace(python("import time; print('> ', flush=True); time.sleep(30)"), on_terminal=True, until=b"> ")
    assert waits.run().seconds < 10


def test_a_terminal_that_ends_without_that_text_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended without"):
        replace(python("print('hello')"), on_terminal=True, until=b"> ").run()


def test_memory_is_that_of_the_command_and_not_of_who_starts_it() -> None:
    ballast = b"x" * 200_000_000
    small, large = python("pass"), python("x = b'x' * 100_000_000")
    assert small.peak_memory() < 50
    assert 100 <= large.peak_memory() < len(ballast) / 1e6
    figure = compare_memory("large / small", large, small, 1)
    assert figure.ratio > 4


def test_two_commands_are_compared_run_by_run() -> None:
    figure = compare("slow / fast", python("import time; time.sleep(0.3)"), python("pass"), 2, 1.0, "a note")
    assert len(figure.runs) == 2
    assert figure.is_missed
    assert re.fullmatch(r"3\d\d / \d+ ms, CPU \d\.\d\d, a note", figure.detail)


def test_no_setting_of_whoever_runs_it_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONDONTWRITEBYTECODE", "CHATLLM_MODEL", "NO_COLOR"):
        monkeypatch.setenv(name, "1")
    environment = clean_environment(CHATLLM_HOME="/home")
    assert {"PYTHONDONTWRITEBYTECODE", "CHATLLM_MODEL", "NO_COLOR"}.isdisjoint(environment)
    assert (environment["CHATLLM_HOME"], "PATH" in environment) == ("/home", True)


def test_chatllm_and_its_peers_have_homes_of_their_own_and_ask_the_same_server(tmp_path: Path) -> None:
    programs = {name: tmp_path / "bin" / name for name in ("chatllm", "llm")}
    stand = Stand(tmp_path, "http://server/v1", programs, runs=1, is_quick=True, most_conversations=1)
    ours, llm = stand.ours("--help"), stand.peer("llm", "logs")
    assert (ours.arguments, llm.arguments) == ([programs["chatllm"], "--help"], [programs["llm"], "logs"])
    assert (ours.environment["CHATLLM_HOME"], llm.environment["HOME"]) == (f"{tmp_path}/home", f"{tmp_path}/llm")
    models = (tmp_path / "llm" / "llm" / "extra-openai-models.yaml").read_text()
    assert models.startswith("- model_id: tokens-20\n  model_name: tokens-20\n  api_base: http://server/v1\n")


def test_the_instant_server_says_what_its_models_names_say(base_url: str) -> None:
    before = times_asked(base_url)
    assert said(base_url, "tokens-3") == "w0 w1 w2 "
    assert said(base_url, "markdown-50@20") == "".join(reply("mixed", 50))
    assert said(base_url, "tokens-2-5") == "w0 w1 "
    begin = time.perf_counter()
    assert said(base_url, "tokens-20-10@16") == "".join(f"w{number} " for number in range(20))
    assert time.perf_counter() - begin >= 0.216
    assert times_asked(base_url) == before + 4


def test_the_instant_server_knows_when_pieces_are_due() -> None:
    assert [(reply_of(model).pause, reply_of(model).first) for model in ("tokens-1", "tokens-2-10@300")] == [
        (0, 0),
        (0.01, 0.3),
    ]


def test_the_instant_server_talks_for_as_long_as_it_is_listened_to(base_url: str) -> None:
    with asked(base_url, "endless-500-one table") as answer:
        assert KINDS["one table"][0][:9] in answer.read(20_000).decode()
    assert said(base_url, "tokens-1") == "w0 "


def test_the_instant_server_has_no_other_model(base_url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        said(base_url, "gpt")


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_has_as_many_chunks_as_it_is_asked_for(kind: str) -> None:
    pieces = reply(kind, 1_000)
    assert 1_000 <= len(pieces) <= 1_002
    assert {len(piece) for piece in pieces[:-1]} == {PIECE}


@pytest.mark.parametrize("words", [["--docs", "--quick"], ["--docs", "peers"]])
def test_a_document_shows_a_whole_run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit, match="2"):
        main()
