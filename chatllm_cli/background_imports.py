"""Importing in a thread what takes long to import, while a person types or a provider thinks."""

import gc
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module


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

    threading.Thread(target=work, daemon=True).start()
