"""Typer's parameters, for values that need no conversion worth the name.

Typer converts each with pydantic, which takes a tenth of a second to import, also where nothing was given. What is
plain here is taken as pydantic would take it; anything else, and whatever is wrong, goes Typer's own way.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, get_args, get_origin

NUMBERS = {int: re.compile(r"-?[0-9]{1,18}"), float: re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")}


def quicken(command: Any) -> None:
    """Let the parameters of a command, and of those below it, do without pydantic where they can."""
    command.get_params = partial(_quick_params, command.get_params)  # --help is among them, which is made late
    for each in getattr(command, "commands", {}).values():
        quicken(each)


def _quick_params(get_params: Callable[[Any], list[Any]], ctx: Any) -> list[Any]:
    parameters = get_params(ctx)
    for parameter in parameters:
        is_as_in_typer_029 = hasattr(parameter, "type_descriptor") and hasattr(parameter, "get_runtime_param")
        if is_as_in_typer_029 and "get_runtime_param" not in vars(parameter):
            full = parameter.get_runtime_param
            parameter.get_runtime_param = partial(_Conversion, parameter.type_descriptor, full)
    return parameters


class _Conversion:
    """Converts a value by itself if it is plain, and as Typer does if it is not."""

    def __init__(self, descriptor: Any, full: Callable[[], Any]) -> None:
        self._kind = descriptor.annotation
        self._info = descriptor.parameter_info
        self._descriptor = descriptor
        self._full = full

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the converted value. Raises Typer's errors."""
        is_several = param.multiple or param.nargs == -1
        if value is None:
            return () if is_several else None
        plain = self._plain_texts(value) if is_several else self._plain(value)
        return self._full().coerce(value, param=param, ctx=ctx) if plain is None else plain

    def _plain_texts(self, values: Any) -> Any:
        is_list = get_origin(self._kind) is list and get_args(self._kind) == (str,)
        are_texts = isinstance(values, list | tuple) and all(type(each) is str for each in values)
        return list(values) if is_list and are_texts else None

    def _plain(self, value: Any) -> Any:
        """Return what a value is converted to; None if that is for Typer to say."""
        if self._info.parser:
            with suppress(ValueError):
                return self._info.parser(value)
        elif self._descriptor.choices:
            chosen = (each for each in self._descriptor.choices if value in {each, getattr(each, "value", each)})
            return next(chosen, None)
        elif self._kind is str and type(value) is str:
            return value
        elif self._kind in NUMBERS:
            return self._plain_number(value)
        return None

    def _plain_number(self, value: Any) -> Any:
        if type(value) is not self._kind:
            if not (type(value) is str and NUMBERS[self._kind].fullmatch(value)):
                return None
            value = self._kind(value)
        low, high = self._info.min, self._info.max
        return value if (low is None or value >= low) and (high is None or value <= high) else None
