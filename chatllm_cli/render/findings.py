"""How findings are shown: a line each, as it is found, or all of them as JSON."""

import json
from typing import Protocol, TextIO

from chatllm_cli.render.clean import clean_line
from chatllm_cli.render.renderer import Renderer

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
        line = f"{verdict}  {finding.about:<8}  {clean_line(finding.detail)}"
        if finding.hint:
            line += "\n" + out.styled(f"{'':<19}{clean_line(finding.hint)}", "dim")
        self._renderer.put(line + "\n")

    def close(self) -> None:
        """Show what is left."""


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
