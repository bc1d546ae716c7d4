"""A system of which one call fails."""

import errno
import fcntl
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir", "pread", "ftruncate", "scandir", "flock")


@dataclass
class Fault:
    """The call that fails, counted from 0, and how: with an error, or by writing only so many bytes."""

    call: str
    number: int
    error: int = 0
    short: int | None = None

    def __str__(self) -> str:
        how = errno.errorcode[self.error] if self.error else f"{self.short} bytes"
        return f"{self.call} {self.number}: {how}"


class System:
    """Stands between the program and the system, counts the calls that concern one folder, and lets one fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.fault: Fault | None = None
        self._folder = str(folder)
        self._descriptors: set[int] = set()
        self._real = {name: getattr(fcntl if name == "flock" else os, name) for name in CALLS}
        for name in CALLS:
            monkeypatch.setattr(fcntl if name == "flock" else os, name, self._standing_for(name))

    def _standing_for(self, name: str) -> Callable[..., Any]:
        def call(place: Any, *arguments: Any, **options: Any) -> Any:
            if not self._concerns(place):
                return self._real[name](place, *arguments, **options)
            number = self.counts[name]
            self.counts[name] += 1
            if self.fault and (self.fault.call, self.fault.number) == (name, number):
                if self.fault.error:
                    raise OSError(self.fault.error, os.strerror(self.fault.error))
                return self._real[name](place, arguments[0][: self.fault.short])
            result = self._real[name](place, *arguments, **options)
            if name == "open":
                self._descriptors.add(result)
            return result

        return call

    def _concerns(self, place: Any) -> bool:
        if isinstance(place, int):
            return place in self._descriptors
        return bool(os.fspath(place).startswith(self._folder))
