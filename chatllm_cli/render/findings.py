"""How findings are shown: a line each, as it is found, or all of them as JSON."""

import json
import textwrap
from typing import Protocol, TextIO

from chatllm_cli.render.clean import clean_line
from chatllm_cli.render.renderer import Renderer

MARGIN, NARROWEST = " " * 19, 20  # columns
STYLES = {"ok": ("dim",), "hint": ("bold",), "problem": ("bold", "red")}


class Shown(Protocol):
    """What is shown of a finding."""

    @property
    def about(self) -> str:
        """What it is about."""

    @property
    def verdict(self) -> str:
        """What it comes to: ok, hint or problem."""

    @property
    def detail(self) -> str:
        """What was found."""

    @property
    def hint(self) -> str:
        """What may help."""


class FindingsView:
    """Shows findings to a person, or line by line on a pipe."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def show(self, finding: Shown) -> None:
        """Show one, at once."""
        out = self._renderer.out
        verdict = out.styled(f"{finding.verdict:<7}", *STYLES[finding.verdict])
        detail, *more = self._lines(finding.detail)
        shown = [f"{verdict}  {finding.about:<8}  {detail}", *(f"{MARGIN}{line}" for line in more)]
        shown += [f"{MARGIN}{out.styled(line, 'dim')}" for line in self._lines(finding.hint) if line]
        self._renderer.put("\n".join(shown) + "\n")

    def close(self) -> None:
        """Show what is left."""

    def _lines(self, text: str) -> list[str]:
        """Return a text in lines that fit beside the margin; in one, where nobody sees its width."""
        out, line = self._renderer.out, clean_line(text)
        if not out.is_terminal:
            return [line]
        width = max(out.width - len(MARGIN), NARROWEST)
        return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]


class JsonFindingsView(FindingsView):
    """Shows findings to a script: all at the end."""

    def __init__(self, renderer: Renderer) -> None:
        super().__init__(renderer)
        self._findings: list[dict[str, str]] = []

    def show(self, finding: Shown) -> None:
        """Take note of one."""
        names = ("about", "verdict", "detail", "hint")
        self._findings.append({name: str(getattr(finding, name)) for name in names})

    def close(self) -> None:
        """Put them out."""
        self._renderer.put(json.dumps(self._findings, indent=2) + "\n")


def open_findings_view(stdout: TextIO, stderr: TextIO, *, as_json: bool) -> FindingsView:
    """Return the view for people, or for scripts."""
    renderer = Renderer(stdout, stderr)
    return JsonFindingsView(renderer) if as_json else FindingsView(renderer)
