"""A reply as rendered markdown: what all views have in common is in test_turn_views, the rendering in others."""

import subprocess
import sys
import threading

import pytest

from chatllm_cli.errors import HistoryError
from chatllm_cli.render.markdown_view import MarkdownView
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import open_turn_view
from tests.terminal import FakeTerminal

WAITING = """
import sys
import threading
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import open_turn_view
from tests.terminal import FakeTerminal
terminal = FakeTerminal()
view = open_turn_view(Renderer(terminal, terminal), "hub/model")
print("chatllm_cli.render.markdown.stream" in sys.modules)
view.on_silence(0.001)
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
print("chatllm_cli.render.markdown.stream" in sys.modules)
"""


def test_what_renders_an_answer_is_imported_while_it_is_waited_for() -> None:
    done = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout == "False\nTrue\n"


def test_a_fault_of_that_import_is_not_told_before_it_is_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chatllm_cli.render.markdown_view.STREAM", "chatllm_cli.no_such_module")
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # which pytest has put its own before
    both = FakeTerminal()
    view = MarkdownView(Renderer(both, both), "hub/model", "")
    before = {*threading.enumerate()}
    view.on_silence(0.001)
    for thread in {*threading.enumerate()} - before:
        thread.join()
    view.close()
    assert capsys.readouterr().err == ""


def test_nothing_is_imported_for_an_answer_that_has_no_text() -> None:
    both = FakeTerminal()
    view = open_turn_view(Renderer(both, both), "hub/model")
    view.on_history_error(HistoryError("the disk is full"))
    view.close()
    assert "_stream" not in vars(view)
    assert both.text == "chatllm: the disk is full"
