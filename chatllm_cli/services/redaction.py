"""Secrets of known shape in what is about to be sent: found by their prefixes, never by how random they look.

The shapes are those that their issuers document; each rule has its examples in tests/test_redaction.py.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

WORD = r"(?<![A-Za-z0-9_-])"  # a prefix inside of a word is none
SHORTEST_KNOWN = 8  # a shorter key of the user's own is a stand-in, and its letters are in every word

RULES: tuple[tuple[str, str], ...] = (
    ("private key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)"),
    ("Anthropic key", WORD + r"sk-ant-[A-Za-z0-9_-]{20,}"),
    ("OpenRouter key", WORD + r"sk-or-[A-Za-z0-9_-]{20,}"),
    ("OpenAI key", WORD + r"sk-[A-Za-z0-9_-]{20,}"),
    ("Groq key", WORD + r"gsk_[A-Za-z0-9]{40,}"),
    ("xAI key", WORD + r"xai-[A-Za-z0-9]{40,}"),
    ("Google key", WORD + r"AIza[A-Za-z0-9_-]{35}"),
    ("Hugging Face token", WORD + r"hf_[A-Za-z0-9]{30,}"),
    ("GitHub token", WORD + r"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("GitLab token", WORD + r"glpat-[A-Za-z0-9_-]{20,}"),
    ("AWS access key", WORD + r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("Slack token", WORD + r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("Slack webhook", r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"),
    ("Stripe key", WORD + r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("SendGrid key", WORD + r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("DigitalOcean token", WORD + r"do[opr]_v1_[a-f0-9]{64}"),
    ("npm token", WORD + r"npm_[A-Za-z0-9]{36}"),
    ("PyPI token", WORD + r"pypi-[A-Za-z0-9_-]{50,}"),
    ("web token", WORD + r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ("password in an address", r"(?<=://)[^\s/:@]{1,100}:[^\s/:@]{1,100}(?=@[A-Za-z0-9.\[])"),
)
KINDS = [kind for kind, _ in RULES]
KNOWN_KEY = "key of yours"
_ANY = re.compile("|".join(f"({pattern})" for _, pattern in RULES), re.DOTALL)


@dataclass(frozen=True, slots=True)
class FoundSecret:
    """Where in a text something lies that looks like a secret, and what it looks like."""

    kind: str
    start: int
    end: int


def find_secrets(text: str, known: Collection[str] = ()) -> list[FoundSecret]:
    """Return what looks like a secret, and the `known` ones, in the order of the text; none overlaps another."""
    found = [FoundSecret(KINDS[(match.lastindex or 1) - 1], *match.span()) for match in _ANY.finditer(text)]
    for secret in known:
        if len(secret) >= SHORTEST_KNOWN:
            found += [FoundSecret(KNOWN_KEY, *match.span()) for match in re.finditer(re.escape(secret), text)]
    found.sort(key=lambda each: (each.start, -each.end))
    apart: list[FoundSecret] = []
    for each in found:
        if not apart or each.start >= apart[-1].end:
            apart.append(each)
    return apart


class PromptGuard:
    """Looks at prompts before they are kept and sent."""

    def __init__(self, *, looks: bool, replaces: bool, known: Collection[str] = ()) -> None:
        self._looks = looks
        self.replaces = replaces
        self._known = known

    def checked(self, prompt: str) -> tuple[str, list[str]]:
        """Return the prompt as it may be sent, and the kinds of secrets that are, or were, in it."""
        found = find_secrets(prompt, self._known) if self._looks else []
        kinds = list(dict.fromkeys(each.kind for each in found))
        if not self.replaces:
            return prompt, kinds
        for each in reversed(found):
            prompt = f"{prompt[: each.start]}[{each.kind}]{prompt[each.end :]}"
        return prompt, kinds
