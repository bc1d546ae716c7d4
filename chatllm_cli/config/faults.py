"""What is wrong with settings, in our own words: never pydantic's, and never the value."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from chatllm_cli.config.setting_keys import Key, spell_key
from chatllm_cli.config.settings import Settings
from chatllm_cli.config.shape import nearest
from chatllm_cli.frozen import frozen


@frozen
class Complaint:
    """One thing that is wrong with settings."""

    key: Key
    expectation: str
    """What is expected there; empty if there is no such setting."""

    def line(self, key: Key | None = None) -> str:
        """Return it in one line; under another key if the file has it there."""
        name = spell_key(key or self.key)
        return f"{name}: {self.expectation}" if self.expectation else f"{name} is not a setting"

    @property
    def hint(self) -> str | None:
        """What may help."""
        if self.expectation:
            return None
        near = nearest(self.key)
        return (
            f"did you mean {near}?" if near else f"the settings and sections are {', '.join(Settings.model_fields)}"
        )


class SettingsAlone(Settings):
    """Settings of which no more is known than the `values` that are given: no environment, no file."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the values out of the one argument: as arguments themselves they could not have every name."""
        return (InitSettingsSource(settings_cls, init_settings()["values"]),)


def settings_alone(values: Mapping[str, Any]) -> Settings:
    """Return the settings that these values are, whatever the environment says. Raises `ValidationError`."""
    given: Any = {"values": values}
    return SettingsAlone(**given)


def complaints_about(values: Mapping[str, Any]) -> list[Complaint]:
    """Return all that is wrong with these values."""
    try:
        settings_alone(values)
    except ValidationError as error:
        return complaints(error)
    return []


def complaints(error: ValidationError) -> list[Complaint]:
    """Return what pydantic complains of, a line for each key."""
    found: dict[Key, Complaint] = {}
    for each in error.errors(include_input=False, include_url=False, include_context=False):
        parts = [part for part in each["loc"] if isinstance(part, str)]
        key = tuple(parts[:-1] if parts[-1:] == ["[key]"] else parts)
        expectation = "" if each["type"] == "extra_forbidden" else _expectation(each["msg"])
        found.setdefault(key, Complaint(key, expectation))
    return list(found.values())


def _expectation(pydantic_message: str) -> str:
    text = pydantic_message.removeprefix("Value error, ").partition(", unable to")[0]
    text = text.replace("Input should be", "expected")
    text = re.sub(r"a valid dictionary or instance of \w+", "a section", text)
    return re.sub(r"expected (less|greater)", r"expected a number \1", text)
