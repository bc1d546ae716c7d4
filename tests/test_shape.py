from typing import Any

import pytest
from pydantic import SecretStr

from chatllm_cli.config.sections import ProviderSettings, TimeoutSettings
from chatllm_cli.config.setting_keys import Key
from chatllm_cli.config.settings import Settings, all_fields
from chatllm_cli.config.shape import is_secret, is_table, kind_at, nearest, split_profile


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (("model",), str),
        (("temperature",), float),
        (("timeouts",), TimeoutSettings),
        (("timeouts", "total"), float),
        (("api_key",), SecretStr),
        (("providers", "x"), ProviderSettings),
        (("providers", "x", "api_key"), SecretStr),
        (("model", "x"), None),
        (("timeouts", "x"), None),
        (("x",), None),
        ((), Settings),
    ],
)
def test_a_key_has_the_type_of_its_setting(key: Key, kind: Any) -> None:
    assert kind_at(key) == kind


def test_every_setting_has_a_type() -> None:
    assert [name for name in all_fields(Settings) if kind_at(tuple(name.split("."))) is None] == []


@pytest.mark.parametrize(
    ("key", "expected"), [((), True), (("timeouts",), True), (("providers",), True), (("fallback",), False)]
)
def test_sections_and_tables_of_names_are_tables(key: Key, expected: bool) -> None:
    assert is_table(kind_at(key)) is expected


def test_only_keys_are_secret() -> None:
    assert is_secret(("providers", "x", "api_key"))
    assert is_secret(("options", "api_key"))
    assert not is_secret(("model",))
    assert not is_secret(("aliases", "api_key"))


def test_a_profile_is_split_off() -> None:
    assert split_profile(("profile", "work", "model")) == ("work", ("model",))
    assert split_profile(("profile",)) == ("", ("profile",))
    assert split_profile(("model",)) == ("", ("model",))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (("modle",), "model"),
        (("providers", "acme", "base_ulr"), "providers.acme.base_url"),
        (("timeouts", "conect"), "timeouts.connect"),
        (("zzz",), None),
    ],
)
def test_the_nearest_setting_is_found_in_tables_too(key: Key, expected: str | None) -> None:
    assert nearest(key) == expected
