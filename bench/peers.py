"""Against `llm` and shell_gpt: the same asked of the same server, whole processes, from start to exit."""

from collections.abc import Iterator
from dataclasses import replace

from bench.conversations import RARE
from bench.figures import Figure
from bench.instant_server import times_asked
from bench.processes import PROMPT, Command, compare, compare_memory
from bench.stand import Stand

LIST = ("logs", "list", "-n", "20", "--short")
LOGGED = 20  # prompts that llm has in its log when it lists them


def run(stand: Stand) -> list[Figure]:
    """Measure, and return the figures."""
    figures = [
        compare("--version / python -c pass", stand.ours("--version"), stand.bare("pass"), stand.runs, 2),
    ]
    if "llm" in stand.programs:
        figures += [*_without_model(stand), *_asked(stand), *_at_length(stand)]
    if "sgpt" in stand.programs:
        figures += _against_shell_gpt(stand)
    return figures


def _without_model(stand: Stand) -> Iterator[Figure]:
    runs = stand.runs
    help_, chat = stand.ours("--help"), stand.ours("chat", "-m", "tokens-20", on_terminal=True)
    yield compare("--help / llm --help", help_, stand.peer("llm", "--help"), runs, 0.25)
    llm_chat = replace(stand.peer("llm", "chat", "-m", "tokens-20"), on_terminal=True, until=PROMPT)
    yield compare("chat to its prompt / llm chat", replace(chat, until=PROMPT), llm_chat, runs, 0.3)
    size = stand.most_conversations
    home, logs = stand.history(size), stand.peer("llm", *LIST)
    logged = 1 if stand.is_quick else LOGGED
    for _ in range(logged):
        _llm(stand, "tokens-20").run()
    note = f"llm's log has {logged} prompts"
    for name, arguments in (("list", ["list"]), ("search", ["search", RARE])):
        ours = stand.ours("history", *arguments, home=home)
        yield compare(f"history {name}, {size:,} conversations / llm logs list", ours, logs, runs, 0.27, note)


def _asked(stand: Stand) -> Iterator[Figure]:
    llm, runs = _llm(stand, "tokens-20"), stand.runs
    kept = stand.ours("ask", "--cache", "-m", "tokens-20", "cached")
    kept.run()
    before = times_asked(stand.base_url)
    kept.run()
    if times_asked(stand.base_url) != before:
        raise RuntimeError("the answer did not come from the cache")
    yield compare("ask from the cache / llm", kept, llm, runs, 0.27)
    yield compare("ask, history fsynced / llm", _ask(stand, "tokens-20"), llm, runs, 0.75)
    yield compare_memory("ask: peak memory / llm", _ask(stand, "tokens-20"), llm, runs, 1.15)
    late = "tokens-20@300"
    yield compare("ask, 300 ms to the first token / llm", _ask(stand, late), _llm(stand, late), runs, 0.82)


def _at_length(stand: Stand) -> Iterator[Figure]:
    chunks, rendered = (1_000, 500) if stand.is_quick else (20_000, 5_000)
    model, document = f"tokens-{chunks}", f"markdown-{rendered}"
    yield compare(f"a reply of {chunks:,} chunks / llm", _ask(stand, model), _llm(stand, model), stand.runs, 0.2)
    name = f"markdown of {rendered:,} chunks, rendered on a terminal / llm, unrendered"
    ours, llm = (replace(each, on_terminal=True) for each in (_ask(stand, document), _llm(stand, document)))
    yield compare(name, ours, llm, stand.runs, 0.5)


def _against_shell_gpt(stand: Stand) -> Iterator[Figure]:
    sgpt, runs = stand.peer("sgpt", "--no-cache", "--model", "tokens-20", "hi"), stand.runs
    yield compare("--help / sgpt --help", stand.ours("--help"), stand.peer("sgpt", "--help"), runs)
    yield compare("ask, history fsynced / sgpt", _ask(stand, "tokens-20"), sgpt, runs)
    yield compare_memory("ask: peak memory / sgpt", _ask(stand, "tokens-20"), sgpt, runs)


def _ask(stand: Stand, model: str) -> Command:
    return stand.ours("ask", "-m", model, "hi")


def _llm(stand: Stand, model: str) -> Command:
    return stand.peer("llm", "-m", model, "hi")
