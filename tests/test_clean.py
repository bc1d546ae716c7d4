import unicodedata

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatllm_cli.render.clean import StreamCleaner, clean, clean_line

FORBIDDEN = {
    *(set(range(0x20)) - {0x09, 0x0A}),
    0x7F,
    *range(0x80, 0xA0),
    0x115F,
    0x1160,
    0x180E,
    0x2028,
    0x2029,
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    0x3164,
    *range(0xD800, 0xE000),
    0xFEFF,
    0xFFA0,
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE01F0),
}
EVERY_CODE_POINT = [chr(code) for code in range(0x110000)]

ESCAPES = [
    "\x1b]0;owned\x07",  # the window's title
    "\x1b]2;owned\x1b\\",
    "\x9d0;owned\x9c",
    "\x1b]52;c;Y3VybCBldmlsfHNo\x07",  # the clipboard
    "\x1b]8;;http://evil.example\x1b\\safe\x1b]8;;\x1b\\",  # a link that hides where it goes
    "\x1b]1337;File=inline=1:AAAA\x07",
    "\x1b[31mred\x1b[0m",
    "\x9b31mred\x9b0m",
    "\x1b[2J\x1b[H",
    "\x1b[8mhidden\x1b[28m",
    "\x1b[6n",  # these make the terminal type an answer
    "\x1b[c",
    "\x1bZ",
    "\x1b[21t",
    '\x1bP$q"p\x1b\\',
    '\x90$q"p\x9c',
    "\x1b_application\x1b\\",
    "\x1b^private\x1b\\",
    "\x1bX string\x1b\\",
    "\x1bc",
    "\x1b[?1049h",
    "\x1b[?1000h",
    "\x1b[200~paste\x1b[201~",
    "\x1b(0lqqk\x1b(B",
    "\x0elqqk\x0f",
    "\x1b[1000000000b",
    "\x1b%G\x1b#8",
    "rm -rf /\rls       ",
    "overwritten\b\b\b\b\b\b\b\b\b\b\b",
    "page\x0cfeed\x0bdown\x7f\x00\x05\x07",
    "access \u202e\u2066// check\u2069 \u2066admin\u202c",
    "one\u2028line\u2029only",
    "pay\u2060pal\ufeff.com\u3164",
    "hello" + "".join(chr(0xE0000 + ord(letter)) for letter in "ignore"),
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all") + "\U000e007f",
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in "gbeng"),
    "\U0001f3f4\n\U0001f3f4\U000e0067\U000e0062\n",
    "a\U000e0100\U000e01efb",
    "\x1b\x1b[\x1b[31m\x1b",
]  # fmt: skip


def region(letters: str) -> str:
    return "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in letters) + "\U000e007f"


REGIONS = [region("gbeng"), region("gbsct"), region("gbwls")]
WRITTEN_BY_PEOPLE = {
    "English": "Plain text, tabs\tand\nlines.",
    "German": "Grüße, Straße, naïve cafe\u0301",
    "Persian": "می\u200cخواهم کتاب\u200cها را بخوانم",  # noqa: RUF001  (an alef is no l)
    "Hindi": "नमस्ते दुनिया, क्\u200dष और क्\u200cष",
    "Hebrew": "שָׁלוֹם עוֹלָם \u200f(שלום)\u200e!",
    "Arabic": "السَّلامُ عليكم ١٢٣",
    "Thai": "สวัสดีชาวโลก",
    "Tamil": "வணக்கம் உலகம்",
    "Chinese": "你好世界。",
    "Japanese": "こんにちは、カタカナと漢字。",
    "Korean": "안녕하세요 세계 한글",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "skin tones": "\U0001f44d\U0001f3fd \U0001f9d1\U0001f3fe\u200d\U0001f4bb",
    "keycaps and variation selectors": "1\ufe0f\u20e3 \u2764\ufe0f \u2602\ufe0e",
    "flags": "\U0001f1ef\U0001f1f5 \U0001f1e7\U0001f1f7 \U0001f3f4\u200d\u2620\ufe0f \U0001f3f4",
    "England, Scotland and Wales": "".join(REGIONS),
    "mathematics": "∀x: ⌈x⌉ ≥ ⌊x⌋ ∧ x² ≠ √2",
}


def streamed(*chunks: str) -> str:
    cleaner = StreamCleaner()
    return "".join([*(cleaner.feed(chunk) for chunk in chunks), cleaner.flush()])


def test_no_forbidden_code_point_survives_and_all_others_stay() -> None:
    allowed = [char for char in EVERY_CODE_POINT if ord(char) not in FORBIDDEN]
    assert [char for char in allowed if clean(char) != char] == []
    shown = {char: clean(char) for char in map(chr, sorted(FORBIDDEN))}
    assert [char for char, spelled in shown.items() if not spelled.isprintable()] == []
    assert [char for char, spelled in shown.items() if not FORBIDDEN.isdisjoint(map(ord, spelled))] == []


def test_all_code_points_in_one_text_fare_as_each_does_alone() -> None:
    # Taken from the last to the first, so that no two surrogates make a pair and no tags a flag.
    assert clean("".join(reversed(EVERY_CODE_POINT))) == "".join(clean(char) for char in reversed(EVERY_CODE_POINT))


def test_what_is_clean_stays_as_it_is() -> None:
    assert [char for char in EVERY_CODE_POINT if clean(clean(char)) != clean(char)] == []
    assert [text for text in ESCAPES if clean(clean(text)) != clean(text)] == []


def test_nothing_survives_that_unicode_calls_a_control_a_line_break_or_a_change_of_direction() -> None:
    survivors = [char for char in EVERY_CODE_POINT if char in clean(char)]
    assert [char for char in survivors if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"}] == ["\t", "\n"]
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert [char for char in survivors if unicodedata.bidirectional(char) in directions] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "^[[31m"),
        ("\x00\x07\x08\x0b\x0c\x1f", "^@^G^H^K^L^_"),
        ("\x7f", "^?"),
        ("\x80\x9b\x9f", "\\x80\\x9b\\x9f"),
        ("a\tb\nc", "a\tb\nc"),
        ("\u202eabc\u2069", "\\u{202e}abc\\u{2069}"),
        ("\u2028\ufeff\u180e", "\\u{2028}\\u{feff}\\u{180e}"),
        ("\U000e0041\U000e01ef", "\\u{e0041}\\u{e01ef}"),
        ("\ud800 \udfff", "\ufffd \ufffd"),
    ],
)
def test_what_is_taken_out_is_spelled_out(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize("text", ["a\r\nb\n", "a\rb", "\r"])
def test_carriage_returns_are_dropped(text: str) -> None:
    assert (clean(text), streamed(*text)) == (text.replace("\r", ""), text.replace("\r", ""))


def test_a_line_is_one_line() -> None:
    assert clean_line(" a\n\n b\tc\r\n\x1b]0;d\x07\u2028e ") == "a b c ^[]0;d^G\\u{2028}e"


@pytest.mark.parametrize("text", ESCAPES)
def test_no_escape_sequence_slips_through_a_split(text: str) -> None:
    assert FORBIDDEN.isdisjoint(map(ord, clean(text)))
    assert streamed(text) == clean(text)
    assert streamed(*text) == clean(text)
    assert {streamed(text[:at], text[at:]) for at in range(len(text) + 1)} == {clean(text)}


def test_no_sequence_that_a_terminal_knows_slips_through_any_split() -> None:
    introducers = ("\x1b[", "\x1b[?", "\x1b[>", "\x9b", "\x1b]", "\x9d", "\x1bP", "\x90", "\x1b_", "\x1b^", "\x1b")
    bodies = ("", "0", "1;31", "52;c;aGk=", "0;x", "38;5;1", "12;3", "8;;http://e.example", "777;notify")
    ends = [*map(chr, range(0x40, 0x7F)), "\x07", "\x1b\\", "\x9c", "\x00", "\x18", "\x7f", "\x80", "\x9f", "\u202e"]
    sequences = [first + body + end for first in introducers for body in bodies for end in ends]
    cases = 0
    for sequence in sequences:
        expected = clean(sequence)
        assert FORBIDDEN.isdisjoint(map(ord, expected))
        for at in range(len(sequence) + 1):
            assert streamed(sequence[:at], sequence[at:]) == expected
            cases += 1
    assert (len(sequences) >= 6_000, cases >= 50_000) == (True, True)


def test_escape_sequences_in_a_row_do_not_slip_through_any_chunk_size() -> None:
    text = "".join(ESCAPES + list(WRITTEN_BY_PEOPLE.values()))
    for size in range(1, 40):
        assert streamed(*(text[at : at + size] for at in range(0, len(text), size))) == clean(text)


@pytest.mark.parametrize("text", WRITTEN_BY_PEOPLE.values(), ids=WRITTEN_BY_PEOPLE)
def test_what_people_write_stays_whole_however_it_is_split(text: str) -> None:
    assert clean(text) == text
    assert streamed(*text) == text
    assert {streamed(text[:at], text[at:]) for at in range(len(text) + 1)} == {text}


@pytest.mark.parametrize("flag", REGIONS)
def test_a_flag_is_held_back_until_it_is_whole(flag: str) -> None:
    cleaner = StreamCleaner()
    assert [cleaner.feed(part) for part in f"a{flag}b"] == ["a", "", "", "", "", "", "", flag, "b"]


def test_a_flag_that_no_region_has_is_spelled_out() -> None:
    assert clean(region("ustx")) == "\U0001f3f4\\u{e0075}\\u{e0073}\\u{e0074}\\u{e0078}\\u{e007f}"


def test_a_flag_that_never_ends_is_spelled_out_at_the_end() -> None:
    cleaner = StreamCleaner()
    assert cleaner.feed("\U0001f3f4\U000e0067") == ""
    assert (cleaner.flush(), cleaner.flush()) == ("\U0001f3f4\\u{e0067}", "")


@pytest.mark.parametrize(
    ("chunks", "shown"),
    [
        (["\ud83d", "\ude00"], "\U0001f600"),
        (["a\ud83d", "\ude00b"], "a\U0001f600b"),
        (["\ud83d", "", "\ude00"], "\U0001f600"),
        (["\ud83d\ude00"], "\U0001f600"),
        (["\ud83d", "\ude00\ud83d", "\ude00"], "\U0001f600\U0001f600"),
        (["\ufeff\ud83d", "\ude00"], "\\u{feff}\U0001f600"),
        (["\udb40", "\udc41"], "\\u{e0041}"),
        (["\ud83d"], "\ufffd"),
        (["x\ude00"], "x\ufffd"),
        (["\ude00", "\ud83d"], "\ufffd\ufffd"),
        (["\ud83d", "a", "\ude00"], "\ufffda\ufffd"),
        (["\ud83d", "\ud83d", "\ude00"], "\ufffd\U0001f600"),
    ],
)
def test_halves_of_a_surrogate_pair_are_joined_and_lone_ones_replaced(chunks: list[str], shown: str) -> None:
    assert streamed(*chunks) == shown


ANYTHING = st.lists(
    st.one_of(
        st.text(),
        st.text(st.characters(max_codepoint=0x9F)),
        st.sampled_from(ESCAPES),
        st.sampled_from(
            ["\x1b", "\x1b[", "\x1b]", "\x9b", "\x9d", "\x07", "\x1b\\", "0;", "31m", "\ud83d", "\udb40"]
        ),
    ),
    max_size=8,
).map("".join)


@pytest.mark.slow
@pytest.mark.timeout(120)
@settings(max_examples=5_000, deadline=None, derandomize=True, database=None)
@given(text=ANYTHING, at=st.integers(min_value=0, max_value=60))
def test_a_terminal_finds_nothing_to_obey_in_clean_text(text: str, at: int) -> None:
    untouched, screen = pyte.Screen(80, 24), pyte.Screen(80, 24)
    pyte.Stream(screen).feed(clean(text) + streamed(text[:at], text[at:]))
    state = ("title", "icon_name", "mode", "margins", "charset", "g0_charset", "g1_charset", "tabstops", "savepoints")
    assert {name: getattr(screen, name) for name in state} == {name: getattr(untouched, name) for name in state}
    written = [char for line in screen.buffer.values() for char in line.values()]
    plain = untouched.default_char
    assert {char._replace(data=" ") for char in [*written, screen.cursor.attrs]} == {plain}
    assert not screen.cursor.hidden


def test_a_flag_that_comes_in_halves_of_surrogates_is_kept() -> None:
    england = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
    units = england.encode("utf-16-le")
    halves = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    cleaner = StreamCleaner()
    assert "".join(cleaner.feed(half) for half in halves) + cleaner.flush() == england
