"""How many tokens a request is, about: only its model knows for sure."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from chatllm_cli.frozen import frozen
from chatllm_cli.message_content import images_in, text_in
from chatllm_cli.models import Content, Conversation, Role

Messages = Sequence[tuple[Role, Content]]

BLANKS = re.compile(r"\s{2,}")  # many of them are one token
REPEATS = re.compile(r"(.)\1{3,}", re.DOTALL)  # so are lines of dashes
WIDE = re.compile("[^\0-\u10ff]")  # scripts with more to say in a character, and signs
WORDS = re.compile(r"\S{1,16}")  # no token goes on beyond a blank, or is much longer
# How many of these are a token: letters and blanks, other alphabets, digits, what stands between words, wide ones.
LETTERS, FOREIGN, DIGITS, MARKS, WIDE_ONES = 4.8, 2.5, 2.0, 1.7, 1.0
MOST_WIDE_ONES = 3.0
ANY_DIGIT, ANY_MARK = re.compile("[0-9]"), re.compile(r"[!-/:-@\[-`{-~]")
REMEMBERED = 4096  # texts whose size is not counted again: a megabyte takes a tenth of a second
OVERHEAD = 4  # tokens around each message
IMAGE_TOKENS, LEAST_IMAGE_TOKENS = 1000, 50  # models differ widely, and with the size of the picture
UNSEEN_IMAGE_TOKENS = 8  # of the line that a model gets instead which takes no images
# Of what is likely: a count far off is of another request, that had been cut, or had another system prompt.
LEAST_SHARE, MOST_SHARE = 0.8, 2.0


@frozen
class Size:
    """Tokens: about how many, and how many it must be."""

    likely: int
    least: int


@frozen
class Measure:
    """What a provider counted for the beginning of a request, as a share of what was estimated for it."""

    share: float = 1.0
    since: int = 0  # the messages at the end that it had not seen

    def before(self, later: int) -> "Measure":
        """Return the measure of the same request without as many messages at its end."""
        return replace(self, since=max(self.since - later, 0))


UNMEASURED = Measure()


@lru_cache(REMEMBERED)
def likely(text: str) -> int:
    """Return about how many tokens a text is."""
    text = _condensed(text)
    narrow = WIDE.sub("", text)
    foreign = len(narrow) - len(narrow.encode("ascii", "ignore"))
    words = ANY_MARK.sub("", narrow)
    letters = len(ANY_DIGIT.sub("", words)) - foreign
    digits, marks = len(words) - letters - foreign, len(narrow) - len(words)
    wide = len(text) - len(narrow)
    return round(letters / LETTERS + foreign / FOREIGN + digits / DIGITS + marks / MARKS + wide / WIDE_ONES)


@lru_cache(REMEMBERED)
def least(text: str) -> int:
    """Return how many tokens a text is at the least, whatever the model."""
    text = _condensed(text)
    narrow = WIDE.sub("", text)
    return sum(1 for _ in WORDS.finditer(narrow)) + round((len(text) - len(narrow)) / MOST_WIDE_ONES)


def size_of(messages: Messages, measure: Measure = UNMEASURED, *, sees: bool = True) -> Size:
    """Return the size of a request to a model that `sees` images, or does not.

    What a provider counted of one like it says what is likely, not what is sure.
    """
    place = max(len(messages) - measure.since, 0)
    before, after = _estimated(messages[:place], sees=sees), _estimated(messages[place:], sees=sees)
    sure = before.least + after.least
    return Size(max(round(measure.share * before.likely) + after.likely, sure), sure)


def measure(messages: Messages, conversation: Conversation, address: str, *, sees: bool = True) -> Measure:
    """Return what the provider counted for the last answer of this model, if that stands in the request."""
    for reply in reversed(conversation.thread()):
        if reply.usage and reply.content and reply.model == address:
            said = (Role.ASSISTANT, reply.content)
            places = [place for place, message in enumerate(messages) if message == said]
            return _measure(messages, places[-1], reply.usage.input_tokens, sees=sees) if places else UNMEASURED
    return UNMEASURED


def _measure(messages: Messages, place: int, tokens: int, *, sees: bool) -> Measure:
    share = tokens / max(_estimated(messages[:place], sees=sees).likely, 1)
    return Measure(min(max(share, LEAST_SHARE), MOST_SHARE), len(messages) - place)


def _estimated(messages: Messages, *, sees: bool) -> Size:
    texts = [text_in(content) for _, content in messages]
    images = sum(len(images_in(content)) for _, content in messages)
    text = sum(max(likely(text), least(text)) + OVERHEAD for text in texts)
    each, each_at_least = (IMAGE_TOKENS, LEAST_IMAGE_TOKENS) if sees else (UNSEEN_IMAGE_TOKENS, UNSEEN_IMAGE_TOKENS)
    return Size(text + each * images, sum(map(least, texts)) + each_at_least * images)


def _condensed(text: str) -> str:
    return REPEATS.sub(r"\1", BLANKS.sub(" ", text))
