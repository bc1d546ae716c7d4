"""Settings as text: the example file, and what `chatllm config show` prints."""

import json
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from chatllm_cli.config.sections import PriceSettings, ProviderSettings
from chatllm_cli.config.settings import Settings, section_of
from chatllm_cli.config.sources import flatten


def shown_settings(settings: Settings) -> dict[str, str]:
    """Return every value as it would stand in the config file, by dotted key, with secrets masked."""
    return {key: _as_toml(value) for key, value in flatten(settings.model_dump()).items()}


def _as_toml(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = "********" if value.get_secret_value() else ""
    return "(not set)" if value is None else json.dumps(value, ensure_ascii=False)


def example_config() -> str:
    """Return a config file that lists every setting, commented out, with its default and what it is for."""
    blocks = ["# Remove the # before a setting to change it. Flags and CHATLLM_… variables outweigh this file.\n"]
    blocks += [_example_line(name, info) for name, info in Settings.model_fields.items() if _is_plain(info)]
    for name, info in Settings.model_fields.items():
        if section := section_of(info):
            blocks.append(f"\n# {section.__doc__}\n[{name}]\n")
            blocks += [_example_line(key, field) for key, field in section.model_fields.items()]
    blocks.append(f"\n# {ProviderSettings.__doc__}\n# Its models are addressed as NAME/model.\n#[providers.NAME]\n")
    blocks += [_example_line(key, field) for key, field in ProviderSettings.model_fields.items()]
    blocks.append(f'\n# {PriceSettings.__doc__}\n#[prices."PROVIDER/MODEL"]\n')
    blocks += [_example_line(key, field) for key, field in PriceSettings.model_fields.items()]
    return "".join(blocks)


def _is_plain(info: FieldInfo) -> bool:
    return section_of(info) is None and info not in (
        Settings.model_fields["providers"],
        Settings.model_fields["prices"],
    )


def _example_line(key: str, info: FieldInfo) -> str:
    value = info.default if info.default is not None else (info.examples or [""])[0]
    return f"# {info.description}\n#{key} = {_as_toml(value)}\n"
