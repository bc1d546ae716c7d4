"""Starts `chatllm` by a fork, from a process that has done a turn and so has everything imported. `test_kills` starts it.

That takes a twentieth of what a start takes, most of which is LangChain's import. Each message on the socket is what
`_become` takes, as JSON, and with it comes the descriptor of stdout; the answer is the process's id.
What has ended is not waited for, so that no id is given to somebody else while its process may still be killed.
"""

import json
import os
import socket
import sys
import threading
from contextlib import suppress

from chatllm_cli.cli.app import app, main

MOST = 65536


def serve(connection: socket.socket) -> None:
    """Start what is asked for until nobody asks any more."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, MOST, 1)
        if not message:
            return
        child = os.fork()
        if child == 0:
            _become(descriptors[0], **json.loads(message))
        os.close(descriptors[0])
        connection.send(str(child).encode())


def _become(stdout: int, arguments: list[str], environment: dict[str, str], complaints: str) -> None:
    nothing, stderr = os.open(os.devnull, os.O_RDWR), os.open(complaints, os.O_WRONLY | os.O_CREAT)
    for source, target in ((nothing, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    # The streams from before the fork know what was there then: another pipe, or a file that can be sought in.
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["chatllm", *arguments]
    main()


if __name__ == "__main__":
    with suppress(SystemExit):
        app(["ask", "--no-history", "-m", "says-hello", "warm up"])
    for thread in threading.enumerate():  # a fork would lose it
        if thread is not threading.main_thread():
            thread.join(timeout=10)
    serve(socket.socket(fileno=int(sys.argv[1])))
