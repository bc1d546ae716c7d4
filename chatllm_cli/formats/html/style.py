"""How an exported page looks, in light and dark, on paper and on a phone."""

from collections.abc import Mapping

# Every text has a contrast of 4.5 or more to what it stands on: a test measures it.
LIGHT = {
    "text": "#1f2328",
    "quiet": "#59636e",
    "link": "#0a58ca",
    "accent": "#0a6e5c",
    "warning": "#8a4b00",
    "page": "#ffffff",
    "user": "#eef4fb",
    "note": "#fdf3e1",
    "code": "#f5f6f8",
    "line": "#d4d9df",
    "keyword": "#a3165b",
    "string": "#0b5e2e",
    "number": "#0a4f9e",
    "comment": "#5a646f",
    "name": "#6329a8",
    "tag": "#0f5c77",
    "removed": "#a40e26",
}
DARK = {
    "text": "#e4e8ec",
    "quiet": "#a0aab4",
    "link": "#7db7ff",
    "accent": "#6fd6bd",
    "warning": "#f0bd6b",
    "page": "#14171a",
    "user": "#1f2a37",
    "note": "#33280f",
    "code": "#1d2126",
    "line": "#3a424b",
    "keyword": "#ff8fc0",
    "string": "#8fdba3",
    "number": "#8ec5ff",
    "comment": "#9aa5b0",
    "name": "#cfb0ff",
    "tag": "#7fd3ee",
    "removed": "#ff9a9a",
}

_RULES = """\
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 5rem; max-width: 47rem;
  background: var(--page); color: var(--text);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
a { color: var(--link); text-underline-offset: .15em; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .5rem; text-wrap: balance; }
.facts, .details, footer, figcaption, .attached, summary { color: var(--quiet); font-size: .875rem; }
.facts { margin: 0; }
.conversation > header { padding-bottom: 1.25rem; border-bottom: 1px solid var(--line); }
time { white-space: nowrap; }
nav + .conversation, .conversation + .conversation {
  margin-top: 4rem; padding-top: 2rem; border-top: 3px solid var(--line);
}
nav ol { padding-left: 2.75rem; }
nav li { margin: .3rem 0; }
.message { margin: 1.75rem 0; }
.message > header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .75rem; margin-bottom: .5rem; }
.message h2 { font-size: .95rem; margin: 0; }
.assistant h2 { color: var(--accent); }
.user { background: var(--user); border-radius: .75rem; padding: .85rem 1.1rem; }
.system { border-left: 3px solid var(--line); padding-left: 1rem; }
.body > :first-child, .inner > :first-child { margin-top: 0; }
.body > :last-child, .inner > :last-child { margin-bottom: 0; }
.body p, .body ul, .body ol, .body blockquote, .body .wide { margin: .85rem 0; }
.body li { margin: .25rem 0; }
.body li > p { margin: .4rem 0; }
.body h3, .body h4, .body h5, .body h6 { line-height: 1.3; margin: 1.5rem 0 .5rem; }
.body h3 { font-size: 1.3rem; }
.body h4 { font-size: 1.15rem; }
.body h5, .body h6 { font-size: 1rem; }
.body hr { border: 0; border-top: 1px solid var(--line); margin: 1.5rem 0; }
blockquote { border-left: 3px solid var(--line); padding-left: 1rem; margin-left: 0; color: var(--quiet); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .94rem; overflow-wrap: normal; }
th, td { border: 1px solid var(--line); padding: .35rem .7rem; vertical-align: top; text-align: left; }
th { background: var(--code); }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { background: var(--code); border-radius: .3rem; padding: .1em .3em; font-size: .88em; }
pre { margin: 0; font-size: .85rem; line-height: 1.5; tab-size: 4; }
pre code { background: none; padding: 0; font-size: 1em; overflow-wrap: normal; }
.code {
  margin: .85rem 0; border: 1px solid var(--line); border-radius: .5rem; background: var(--code); overflow: hidden;
}
.code pre { padding: .75rem .9rem; overflow-x: auto; }
.code .language { display: block; padding: .45rem .9rem 0; color: var(--quiet); font-size: .75rem; line-height: 1.2; }
pre.plain { white-space: pre-wrap; }
details { margin: .75rem 0; }
summary { cursor: pointer; }
details > pre, details > .inner {
  margin-top: .5rem; padding: .75rem .9rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--code); max-height: 30rem; overflow: auto;
}
figure { margin: .85rem 0 0; }
figure img { display: block; max-width: 100%; height: auto; max-height: 32rem; border-radius: .5rem; }
figcaption, .attached { margin: .4rem 0 0; }
.incomplete {
  margin: .85rem 0 0; padding: .5rem .8rem; border-radius: .5rem; font-size: .9rem;
  background: var(--note); color: var(--warning);
}
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); }
.code .k, .code .kc, .code .kd, .code .kn, .code .kp, .code .kr, .code .kt, .code .ow { color: var(--keyword); }
.code [class^="s"], .code .gi { color: var(--string); }
.code [class^="m"], .code .l, .code .ld { color: var(--number); }
.code [class^="c"], .code .gp, .code .go { color: var(--comment); }
.code .c, .code .c1, .code .cm, .code .ch { font-style: italic; }
.code .nf, .code .fm, .code .nc, .code .ne, .code .nd, .code .gh, .code .gu { color: var(--name); }
.code .nt, .code .na, .code .nb, .code .bp, .code .nn, .code .nl { color: var(--tag); }
.code .gd, .code .gr, .code .err { color: var(--removed); }
.code .gs, .code .gh { font-weight: bold; }
.code .ge { font-style: italic; }
.code .language { font-style: normal; }
@media (max-width: 30rem) {
  body { padding: 1.25rem .9rem 3rem; }
  h1 { font-size: 1.4rem; }
  .user { padding: .7rem .85rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  .code pre, details > pre, details > .inner { white-space: pre-wrap; overflow: visible; max-height: none; }
  .message > header, h1, h2, h3, h4 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""


def style() -> str:
    """Return the page's style sheet; on paper it is the light one."""
    dark = _variables(DARK)
    return (
        f":root {{ color-scheme: light dark; {_variables(LIGHT)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{_RULES}"
    )


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
