"""Importing in a thread what takes long to import, while a person types or a provider thinks."""

import gc
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

ROOM = 70_000  # values that a frame asks for: half a megabyte


def import_in_background(*modules: str, then: Callable[[], object] = lambda: None) -> None:
    """Import `modules` in a thread of its own, and call `then` there.

    No garbage is collected meanwhile, and what was imported stays: to look through it takes a quarter of the time.
    A fault is not told: whoever uses the module meets it.
    """

    def work() -> None:
        gc.disable()
        with suppress(Exception):
            for module in modules:
                import_module(module)
        gc.freeze()
        gc.enable()
        then()

    # Python keeps a thread's frames in pieces of 16 kB. A call that goes beyond the last one gets another from the
    # system, and returns it when it ends: 4,000 times in an import, which is deep and calls most where it is deepest.
    # A frame of this size gets a piece with room for all that is called within; memory is taken as it is used.
    work.__code__ = work.__code__.replace(co_stacksize=ROOM)
    threading.Thread(target=work, daemon=True).start()
