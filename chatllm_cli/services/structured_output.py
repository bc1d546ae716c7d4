"""Answers that have to be JSON of a certain shape."""

import json
import math
import re
from pathlib import Path
from typing import Any

import jsonschema
import referencing
import referencing.exceptions

from chatllm_cli.errors import AnswerFormatError, UsageError

TYPES = {
    "str": "string",
    "string": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
}
LIST = {"list", "array"}
FIELD = re.compile(r"([A-Za-z_]\w*)(?:\s+([a-z]+))?")
FENCE = re.compile(r"\A\s*```\w*[ \t]*\r?\n(.*?)\r?\n?```\s*\Z", re.DOTALL)
LONGEST_VALUE = 60  # characters of what does not fit that are quoted

Schema = dict[str, Any]


def read_schema(spec: str) -> Schema:
    """Return the JSON Schema that `spec` is, names as a file, or spells in short: `name, age int, tags list`.

    Raises `UsageError`.
    """
    text = spec if spec.lstrip().startswith("{") else _file(spec)
    if text is None:
        return _short_form(spec)
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the schema is not valid JSON: {error}") from None
    if not isinstance(schema, dict) or not isinstance(schema.get("$schema", ""), str):
        raise UsageError("the schema is not a JSON Schema: expected an object")
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        raise UsageError(f"the schema is not a JSON Schema: {error.message}") from None
    except RecursionError:
        raise UsageError("the schema is nested too deeply") from None
    return schema


def _file(spec: str) -> str | None:
    """Return the text of the file that `spec` names; None if it names none and does not look so."""
    try:
        return Path(spec).read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        if spec.endswith(".json") or "/" in spec:
            raise UsageError(f"the schema {spec} cannot be read: {error.strerror}") from None
        return None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and "/" not in spec:  # too long for a name: it is none
            return None
        raise UsageError(f"the schema {spec} cannot be read: {error}") from None


def _short_form(spec: str) -> Schema:
    properties: dict[str, Schema] = {}
    for part in spec.split(","):
        field, _, description = part.partition(":")
        found = FIELD.fullmatch(field.strip())
        name, kind = (found[1], found[2] or "str") if found else ("", "")
        if kind not in TYPES and kind not in LIST:
            raise UsageError(
                f"'{part.strip()}' is no field of a schema",
                hint="write: name, age int, tags list: its topics; the types are str, int, float, bool and list",
            )
        is_list = kind in LIST
        properties[name] = {"type": "array", "items": {"type": "string"}} if is_list else {"type": TYPES[kind]}
        if description.strip():
            properties[name]["description"] = description.strip()
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def fitted(text: str, schema: Schema) -> Any:
    """Return the value that an answer spells, which fits the schema. Raises `AnswerFormatError`."""
    fence = FENCE.match(text)
    try:
        value = json.loads(fence[1] if fence else text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        raise AnswerFormatError("the answer is not JSON") from None
    # An empty registry: what the schema refers to elsewhere is not fetched.
    validator = jsonschema.validators.validator_for(schema)(schema, registry=referencing.Registry())
    try:
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    except referencing.exceptions.Unresolvable as unresolvable:
        raise UsageError(f"the schema refers to {unresolvable.ref}, which is not in it") from None
    except RecursionError:
        raise UsageError("the schema refers to itself without end") from None
    except OverflowError:
        raise AnswerFormatError("the answer has a number that is too large") from None
    if error:
        message = error.message if len(error.message) <= LONGEST_VALUE else f"{error.message[:LONGEST_VALUE]}…"
        raise AnswerFormatError(f"the answer does not fit the schema: at {error.json_path}: {message}")
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("too large a number")
    return number
