"""Where settings come from: the config file and environment variables.

Nothing is read from the current folder: a cloned repository must not be able to send a key elsewhere.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatllm_cli.config.known_providers import KNOWN
from chatllm_cli.config.places import HOME_VARIABLE
from chatllm_cli.errors import ConfigError

ENV_PREFIX = "CHATLLM_"
# Variables of other programs that are honoured, and the setting each stands for.
FOREIGN_VARIABLES = {
    **{known.key_variable: f"providers.{name}.api_key" for name, known in KNOWN.items() if known.key_variable},
    "OPENAI_BASE_URL": "providers.openai.base_url",
    "HF_ENDPOINT": "local.hub_url",
}


def read_config_file(path: Path) -> dict[str, Any]:
    """Parse the config file; one that is missing is empty, one that shows a key to others is refused."""
    try:
        with path.open("rb") as file:
            values = tomllib.loads(file.read().decode("utf-8"))
            others_can_read = os.fstat(file.fileno()).st_mode & 0o077
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start + 1})") from None
    except (ValueError, RecursionError) as error:  # a number may have more digits than Python takes, too
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if others_can_read and any(key.endswith("api_key") for key in flatten(values)):
        raise ConfigError(f"{path} holds a key and others can read it", hint=f"chmod 600 {path}")
    return values


def foreign_variables() -> dict[str, str]:
    """Return the values of variables of other programs, by the dotted key each stands for."""
    return {key: os.environ[name] for name, key in FOREIGN_VARIABLES.items() if os.environ.get(name)}


def own_variables() -> list[str]:
    """Return the names of the variables that are meant for us."""
    return sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name != HOME_VARIABLE)


def key_of(variable: str) -> str:
    """Return the dotted key that a variable of ours sets."""
    return variable[len(ENV_PREFIX) :].lower().replace("__", ".")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{quoted(key)}.")
        else:
            flat[f"{prefix}{quoted(key)}"] = value
    return flat


def quoted(part: str) -> str:
    """Return one part of a dotted key as TOML has it: a model's name may hold dots itself."""
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part, ensure_ascii=False)


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted key as nested ones."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return nested
