"""Settings as text: the example file, and what `chatllm config show` prints."""

import ast
import inspect
import json
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from chatllm_cli.config.sections import ModelSettings, OptionSettings, PriceSettings, ProviderSettings
from chatllm_cli.config.setting_keys import Key, parse_key, spell_key
from chatllm_cli.config.settings import Settings, section_of
from chatllm_cli.config.shape import holds_secret, is_secret
from chatllm_cli.config.sources import flatten

MASK = "********"
PROFILES = (
    "Any of these settings, under a name: with --profile NAME, or CHATLLM_PROFILE=NAME, they outweigh those above."
)


def shown_settings(settings: Settings) -> dict[str, str]:
    """Return every value as it would stand in the config file, by dotted key, with secrets masked."""
    values = settings.model_dump()
    return {key: as_toml(value, key) for key, value in flatten({name: values[name] for name in _in_order()}).items()}


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Return every value as JSON has it, by dotted key, with secrets masked."""
    values = settings.model_dump()
    return {
        key: masked(value, parse_key(key))
        for key, value in flatten({name: values[name] for name in _in_order()}).items()
    }


def as_toml(value: Any, key: str = "") -> str:
    """Return a value as it would stand in the config file, at a key that tells what is secret."""
    return _spelled(masked(value, parse_key(key) if key else ()))


def masked(value: Any, key: Key) -> Any:
    """Return a value without what must not be seen of it: what is secret by its type, or by its key."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if value and (is_secret(key) or (isinstance(value, str) and holds_secret(key, value))):
        return MASK
    if isinstance(value, dict):
        return {name: masked(each, (*key, name)) for name, each in value.items()}
    return [masked(each, key) for each in value] if isinstance(value, list) else value


def _spelled(value: Any) -> str:
    if isinstance(value, dict) and value:  # inside of a list; the rest is flat by then
        return f"{{ {', '.join(f'{spell_key((key,))} = {_spelled(each)}' for key, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(_spelled(each) for each in value)}]"
    return "(not set)" if value is None else json.dumps(value, ensure_ascii=False)


NAMED: dict[str, tuple[str, type[OptionSettings | ProviderSettings | PriceSettings]]] = {  # tables of sections
    "providers": ("NAME", ProviderSettings),
    "models": ('"PROVIDER/MODEL"', ModelSettings),
    "prices": ('"PROVIDER/MODEL"', PriceSettings),
}
TABLES = (*NAMED, "aliases")


def example_config() -> str:
    """Return a config file that lists every setting, commented out, with its default and what it is for."""
    fields, told = Settings.model_fields, told_of(Settings)
    blocks = ["# Remove the # before a setting to change it. Flags and CHATLLM_… variables outweigh this file.\n"]
    blocks += [_example_line(name, fields[name], told[name]) for name in _in_order() if _is_plain(name)]
    for name, info in fields.items():
        if section := section_of(info):
            blocks.append(f"\n# {section.__doc__}\n[{name}]\n")
            blocks += _example_lines(section)
    for name, (example, named) in NAMED.items():
        blocks.append(f"\n# {told[name]}\n# {named.__doc__}\n#[{name}.{example}]\n")
        blocks += _example_lines(named)
    blocks.append(f'\n# {told["aliases"]}\n#[aliases]\n# A name of your own.\n#fast = "openai/gpt-4o-mini"\n')
    blocks.append(f"\n# {PROFILES}\n#[profile.NAME]\n")
    return "".join(blocks)


def _in_order() -> list[str]:
    """Return the names of the settings as a person looks for them: model first, tables last."""
    names = [name for name in Settings.model_fields if name not in OptionSettings.model_fields]
    plain = [name for name in names if _is_plain(name)]
    return [*plain, *OptionSettings.model_fields, *(name for name in names if name not in plain)]


def _is_plain(name: str) -> bool:
    return section_of(Settings.model_fields[name]) is None and name not in TABLES


def told_of(section: type[BaseModel]) -> dict[str, str]:
    """Return what stands in the source beneath each setting. Pydantic would look for it at every start, for 20 ms."""
    told: dict[str, str] = {}
    for kind in reversed([each for each in section.__mro__ if each.__module__.startswith(f"{__package__}.")]):
        (definition,) = ast.parse(inspect.getsource(kind)).body
        for setting, text in pairwise(getattr(definition, "body", [])):
            if isinstance(setting, ast.AnnAssign) and isinstance(text, ast.Expr):
                told[ast.unparse(setting.target)] = ast.literal_eval(text.value)
    return told


def _example_lines(section: type[BaseModel]) -> list[str]:
    told = told_of(section)
    return [_example_line(key, info, told[key]) for key, info in section.model_fields.items()]


def _example_line(key: str, info: FieldInfo, told: str) -> str:
    value = info.default if info.default is not None else (info.examples or [""])[0]
    return f"# {told}\n#{key} = {as_toml(value)}\n"
