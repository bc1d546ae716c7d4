"""Runs chatllm and writes down every address that it looks up or connects to: python watched.py LOG ARGUMENTS...

An audit hook sees what the interpreter does, whichever library asks for it. Names are not looked up.
"""

import json
import os
import sys
from typing import Any

log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
sys.argv[0] = "chatllm"


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        os.write(log, f"{json.dumps(str(arguments[0]))}\n".encode())
        if str(arguments[0]) not in {"127.0.0.1", "::1", "localhost"}:
            raise OSError(f"{arguments[0]} is not looked up here")
    elif event in {"socket.connect", "socket.sendto"} and isinstance(arguments[1], tuple):
        os.write(log, f"{json.dumps(f'{arguments[1][0]}:{arguments[1][1]}')}\n".encode())


sys.addaudithook(watch)

from chatllm_cli.__main__ import main  # noqa: E402  (what it imports is watched, too)

main()
