"""What must not reach a terminal: forty of the things that terminals obey, or readers do not see."""

import re

ESC = "\x1b"
PAYLOADS = [
    f"{ESC}]0;owned\x07",  # the window's title
    f"{ESC}]2;owned{ESC}\\",
    f"{ESC}]52;c;b3duZWQ=\x07",  # the clipboard
    f"{ESC}]8;;http://evil.example{ESC}\\here{ESC}]8;;{ESC}\\",  # a link that says something else
    f"{ESC}]1337;File=inline=1:b3duZWQ=\x07",
    f"{ESC}]4;1;rgb:00/00/00\x07",
    f"{ESC}]104\x07",
    f"{ESC}]777;notify;owned;now{ESC}\\",
    f"{ESC}[2J",
    f"{ESC}[3J",
    f"{ESC}[1;1H",
    f"{ESC}[10A",
    f"{ESC}[8m",  # hidden text
    f"{ESC}[31m",
    f"{ESC}[?25l",
    f"{ESC}[?1049h",
    f"{ESC}[?1000h",
    f"{ESC}[?2004h",
    f"{ESC}[6n",  # answers are typed into the prompt
    f"{ESC}[c",
    f"{ESC}[21t",
    f"{ESC}[4h",
    f"{ESC}c",
    f"{ESC}#8",
    f"{ESC}(0",
    f"{ESC}P+q6f776e6564{ESC}\\",
    f"{ESC}Pq#0~~{ESC}\\",
    f"{ESC}_Gi=1;b3duZWQ={ESC}\\",
    f"{ESC}^owned{ESC}\\",
    f"{ESC}Xowned{ESC}\\",
    "\x9b31m",
    "\x9d0;owned\x9c",
    "\x90owned\x9c",
    "\x07\x08\x0b\x0c\x0e\x0f\x7f",
    "safe\rowned",
    "\u202etxt.exe\u202c",
    "\u2066a\u2069",
    "".join(chr(0xE0000 + ord(letter)) for letter in "owned"),
    "a\u2028b\u2029c\x85d",
    "\ufeff\u2060\u180e\u3164",
]
ALL = "\n".join(f"{number} {payload} end" for number, payload in enumerate(PAYLOADS))
ON_A_LINE = " ".join(PAYLOADS)

# What the program writes itself: colours, and rows that are taken back.
OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[K|\x1b\[1A")
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2060-\u2069\ufeff\u180e\u3164\U000e0000-\U000e01ef]"
)


def forbidden_in(raw: str) -> list[str]:
    """Return what in the output of a terminal is not ours."""
    return FORBIDDEN.findall(OURS.sub("", raw))
