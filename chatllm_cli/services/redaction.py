"""Secrets of known shape in what is about to be sent: found by their prefixes, never by how random they look.

The shapes are those that their issuers document; each rule has its examples in tests/test_redaction.py.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, lru_cache

from chatllm_cli.config.secrets import SHORTEST_KEY
from chatllm_cli.frozen import frozen

KNOWN_KEY = "key of yours"
PASSWORD = "password in an address"  # noqa: S105  (what it is called)

# What it is, the prefixes that begin it, and what follows on each. The prefixes are looked for first: most texts have
# none of them, and to see that costs next to nothing.
RULES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "private key",
        ("-----BEGIN ",),
        r"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)",
    ),
    ("Anthropic key", ("sk-ant-",), r"[A-Za-z0-9_-]{20,}"),
    ("OpenRouter key", ("sk-or-",), r"[A-Za-z0-9_-]{20,}"),
    ("OpenAI key", ("sk-proj-", "sk-svcacct-", "sk-admin-"), r"[A-Za-z0-9_-]{20,}"),
    # Words in an address, or the name of a CSS class, begin like it, too: but have no digit, or are short.
    ("OpenAI key", ("sk-",), r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}[A-Za-z0-9_-]*"),
    ("Groq key", ("gsk_",), r"[A-Za-z0-9]{40,}"),
    ("xAI key", ("xai-",), r"[A-Za-z0-9]{40,}"),
    ("Google key", ("AIza",), r"[A-Za-z0-9_-]{35}"),
    ("Hugging Face token", ("hf_",), r"[A-Za-z0-9]{30,}"),
    ("GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"[A-Za-z0-9]{36,}"),
    ("GitHub token", ("github_pat_",), r"[A-Za-z0-9_]{22,}"),
    ("GitLab token", ("glpat-",), r"[A-Za-z0-9_-]{20,}"),
    ("AWS access key", ("AKIA", "ASIA"), r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("Slack token", ("xox",), r"[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("Slack webhook", ("hooks.slack.com/services/",), r"[A-Za-z0-9/]{20,}"),
    ("Stripe key", ("sk_live_", "sk_test_", "rk_live_", "rk_test_"), r"[A-Za-z0-9]{16,}"),
    ("SendGrid key", ("SG.",), r"[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("DigitalOcean token", ("dop_v1_", "doo_v1_", "dor_v1_"), r"[a-f0-9]{64}"),
    ("npm token", ("npm_",), r"[A-Za-z0-9]{36}"),
    ("PyPI token", ("pypi-",), r"[A-Za-z0-9_-]{50,}"),
    ("web token", ("eyJ",), r"[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
)

# A user's name, or none, and a colon that no port follows, and no placeholder as templates have them.
_USER = re.compile(r"://[^\s/:@?#\[]{0,100}:(?![0-9]{1,5}[/?#]|\$?\{+\w+\})")
# A password has whatever people type, be it @ or /: it ends at the last @, unless a path follows on what can only be
# a host (an @ in that is a version). Without one, all that could be it is passed over: no part is looked at twice.
_REST = re.compile(
    r"""[^\s"'`/?#]+(?=@[\w.-]+\.[A-Za-z]{2,}(?::[0-9]+)?[/?#])()|[^\s"'`]+(?=@)()|[^\s"'`]*"""  # () marks a find
)
_PLAIN_WORDS = re.compile(r"[A-Za-z]{1,15}(?:[-_][A-Za-z]{1,15})*")


@cache  # made when its prefix is met: all of them take 3 ms
def _pattern(prefix: str, rest: str) -> re.Pattern[str]:
    """Return the pattern of a secret; a prefix inside of a word is none, but a newline may be spelled out before it.

    What may stand before the prefix is said after it: a pattern that begins with plain letters is found much faster.
    """
    begin = re.escape(prefix)
    if prefix[0].isalpha():
        begin += rf"(?:(?<![A-Za-z0-9_-]{begin})|(?<=\\[nrt]{begin}))"
    return re.compile(begin + rest, re.DOTALL)


_PREFIXES = [(kind, prefix, rest) for kind, prefixes, rest in RULES for prefix in prefixes]


@frozen
class FoundSecret:
    """Where in a text something lies that looks like a secret, and what it looks like."""

    kind: str
    start: int
    end: int


def find_secrets(text: str, known: Collection[str] = ()) -> list[FoundSecret]:
    """Return what looks like a secret, and the `known` ones, in the order of the text; those that overlap are one."""
    found = [
        FoundSecret(kind, *match.span())
        for kind, prefix, rest in _PREFIXES
        if prefix in text
        for match in _pattern(prefix, rest).finditer(text)
    ]
    found += _passwords(text)
    for secret in known:
        if len(secret) >= SHORTEST_KEY and secret in text:
            found += [FoundSecret(KNOWN_KEY, *match.span()) for match in re.finditer(re.escape(secret), text)]
    found.sort(key=lambda each: (each.start, -each.end))
    apart: list[FoundSecret] = []
    for each in found:
        if not apart or each.start >= apart[-1].end:
            apart.append(each)
        elif each.end > apart[-1].end:
            apart[-1] = FoundSecret(apart[-1].kind, apart[-1].start, each.end)
    return apart


def _passwords(text: str) -> Iterator[FoundSecret]:
    """Yield the users with their passwords in addresses."""
    if "://" not in text or "@" not in text:
        return
    done = 0
    for user in _USER.finditer(text):
        if user.start() >= done and (rest := _REST.match(text, user.end())):
            done = rest.end()
            if rest.lastindex:
                yield FoundSecret(PASSWORD, user.start() + len("://"), done)


@lru_cache(maxsize=1)  # a prompt is wanted for the title of a conversation, and again to be sent
def redacted(text: str, known: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """Return a text with the kinds of its secrets in their places, and these kinds, each once."""
    found = find_secrets(text, known)
    return _without(text, found), tuple(dict.fromkeys(each.kind for each in found))


def _without(text: str, found: Sequence[FoundSecret]) -> str:
    pieces, end = [], 0
    for each in found:
        pieces += [text[end : each.start], f"[{each.kind}]"]
        end = each.end
    return "".join([*pieces, text[end:]])


class Replacer:
    """Puts the kinds of secrets, and of the `known` keys, in their places, and counts what it `replaced`."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self.replaced: Counter[str] = Counter()  # by their kind
        self._kinds: dict[str, str] = {}  # of those that were replaced

    def without_secrets(self, text: str) -> str:
        """Return a text with the kinds of its secrets in their places."""
        found = find_secrets(text, self._known)
        self.replaced.update(each.kind for each in found)
        self._kinds.update((text[each.start : each.end], each.kind) for each in found)
        return _without(text, found) if found else text

    def without_begun(self, text: str) -> str:
        """Return a text without the beginning of a secret, replaced before, at its end: where it was cut."""
        for secret, kind in self._kinds.items():
            for length in range(len(secret) - 1, SHORTEST_KEY - 1, -1):
                if text.endswith(secret[:length]):
                    self.replaced[kind] += 1
                    return f"{text[:-length]}[{kind}]"
        return text


def told_secrets(replaced: Mapping[str, int]) -> str:
    """Return how many secrets were replaced, and which kinds they are of."""
    count = sum(replaced.values())
    were = "1 secret was" if count == 1 else f"{count} secrets were"
    return f"{were} replaced ({', '.join(replaced)})"


class PromptGuard:
    """Looks at prompts before they are kept and sent.

    The `known` keys may become more while it works. The `harmless` ones, and plain words, are none: what stands in
    for a key, where a server wants any, is often its name.
    """

    def __init__(
        self, *, looks: bool, replaces: bool, known: Collection[str] = (), harmless: Collection[str] = ()
    ) -> None:
        self._looks = looks
        self.replaces = replaces
        self._known = known
        self._harmless = harmless
        self._untold: tuple[str, ...] = ()  # kinds in the system prompt

    @property
    def keys(self) -> frozenset[str]:
        """The keys that are looked for."""
        return frozenset(key for key in self._known if key not in self._harmless and not _PLAIN_WORDS.fullmatch(key))

    def checked(self, prompt: str, *, is_told: bool = True) -> tuple[str, list[str]]:
        """Return the prompt as it may be sent, and the kinds of secrets that are, or were, in it.

        Those of a system prompt that was checked before are among them. Where nobody `is_told`, and nothing replaced,
        nothing is looked for.
        """
        if not (self.replaces or is_told):
            return prompt, []
        prompt, kinds = self._looked_at(prompt)
        told, self._untold = list(dict.fromkeys([*self._untold, *kinds])), ()
        return prompt, told

    def checked_system_prompt(self, text: str) -> str:
        """Return a system prompt as it may be kept and sent; what is in it is told along with the next prompt."""
        text, self._untold = self._looked_at(text)
        return text

    def checked_title(self, prompt: str) -> str:
        """Return the prompt as it may be made a title."""
        return self._looked_at(prompt)[0] if self.replaces else prompt

    def _looked_at(self, text: str) -> tuple[str, tuple[str, ...]]:
        if not self._looks:
            return text, ()
        without, kinds = redacted(text, self.keys)
        return without if self.replaces else text, kinds
