"""Whatever stands in the config file or the environment: no error comes of it that is not one of ours."""

import json
import os
import tomllib
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chatllm_cli.config.checking import check_file
from chatllm_cli.config.editing import set_value, unset_value
from chatllm_cli.config.loading import load_settings
from chatllm_cli.config.places import Places
from chatllm_cli.config.setting_keys import Key, parse_key, spell_key
from chatllm_cli.config.settings import Settings, all_fields
from chatllm_cli.config.shape import check_can_be_set
from chatllm_cli.config.sources import flatten, read_config_file, read_value
from chatllm_cli.config.toml_lines import Lines
from chatllm_cli.errors import ChatllmError, ConfigError
from tests.durability.helpers import chance, named
from tests.durability.odd_values import text, value

SETTINGS = [
    *all_fields(Settings),
    *Settings.model_fields,
    "providers.a.base_url",
    "providers.b.api_key",
    "providers.c",
]
NAMES = [*SETTINGS, *(name.replace("_", "-") for name in SETTINGS[:5])]


def toml_value(random: Random, depth: int = 0) -> str:
    kind = random.randrange(9 if depth < 3 else 7)
    quoted = json.dumps(text(random), ensure_ascii=random.random() < 0.5)
    return (
        quoted,
        f"'{text(random)}'",
        random.choice(["0", "-1", "1", "8192", "9" * random.randint(1, 400), "0x1f", "1_000", "+1", "01"]),
        random.choice(["0.5", "1e3", "inf", "-inf", "nan", "1e999", "2.0", "-0.0", "."]),
        random.choice(["true", "false", "True", "null"]),
        random.choice(["2026-07-01", "2026-07-01T12:00:00Z", "12:00:00", "9999-12-31", "2026-13-01"]),
        random.choice(['""', '"never"', '"always"', '"https://host/v1"', '"a/b"', '"local"', '"required"']),
        f"[{', '.join(toml_value(random, depth + 1) for _ in range(random.randint(0, 3)))}]" if depth < 3 else "1",
        f"{{ {random.choice(SETTINGS)} = {toml_value(random, depth + 1)} }}" if depth < 3 else "1",
    )[kind]


def toml(random: Random) -> bytes:
    lines = []
    for _ in range(random.randint(0, 4)):
        kind = random.randrange(8)
        if kind == 0:
            lines.append(f"[{random.choice([*NAMES, text(random, 4)])}]")
        elif kind == 1:
            lines.append(text(random, 40))
        else:
            name = random.choice(NAMES) if random.random() < 0.9 else json.dumps(text(random, 6))
            lines.append(f"{name} = {toml_value(random)}")
    data = "\n".join(lines).encode()
    return data if random.random() < 0.9 else data[: random.randrange(len(data) + 1)] + random.randbytes(3)


def loads_or_explains(case: str) -> bool:
    """Whether the settings can be loaded; if not it is said why."""
    try:
        with named(case):
            load_settings()
    except ConfigError as error:
        assert error.message, case
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_no_config_file_makes_the_settings_fail(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_HOME", str(quick))
    config = quick / "config.toml"
    config.touch(0o600)
    loaded = []
    for seed in range(10_000):
        data = toml(chance("toml", seed))
        config.write_bytes(data)
        loaded.append(loads_or_explains(f"seed {seed}: {data!r}"))
    assert (len(loaded), 500 <= sum(loaded) <= 9_500) == (10_000, True)
    assert [path.name for path in quick.iterdir()] == ["config.toml"]


def test_a_number_of_too_many_digits_makes_the_settings_not_fail(places: Places) -> None:
    places.config_file.parent.mkdir(parents=True)
    places.config_file.write_text("max_tokens = " + "1" * 5_000)
    assert not loads_or_explains("5,000 digits")


def variable_value(random: Random) -> str:
    kind = random.randrange(5)
    if kind == 0:
        return json.dumps(value(random))
    if kind == 1:
        return json.dumps({random.choice([*SETTINGS, "base_url", "connect"]): value(random)})
    if kind == 2:
        return random.choice(
            ["1", "0", "-1", "1.5", "nan", "inf", "true", "no", "", "9" * 5_000, "auto", "a/b,c/d", "[", "{"]
        )
    return text(random) if kind == 3 else os.fsdecode(random.randbytes(random.randint(0, 20)))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_no_environment_makes_the_settings_fail(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name.upper().replace(".", "__") for name in SETTINGS]
    loaded = []
    for seed in range(10_000):
        random = chance("environment", seed)
        environment = {}
        for _ in range(random.randint(1, 2)):
            name = random.choice(names) + random.choice(["", "", "", "", "__X", "_", "__"])
            environment[f"CHATLLM_{name}"] = variable_value(random).replace("\0", "")
        with monkeypatch.context() as patch:
            for name, content in environment.items():
                patch.setenv(name, content)
            loaded.append(loads_or_explains(f"seed {seed}: {environment!r}"))
    assert (len(loaded), 500 <= sum(loaded) <= 9_500) == (10_000, True)
    assert not places.config_file.parent.exists()


def key_text(random: Random) -> str:
    name = random.choice(SETTINGS) if random.random() < 0.9 else text(random, 12)
    odd = random.choice(["x", "y", "z", '"a.b"', json.dumps(text(random, 5)), text(random, 5)])
    of_provider = f"providers.{odd}.{random.choice(['base_url', 'end_marker'])}"
    return random.choice([name, name, f"profile.work.{name}", of_provider, of_provider, f"{name}.{odd}"])


def value_text(random: Random) -> str:
    usual = ["1", "0.5", "9000", "true", "a/b", "https://host/v1", "never", "required"]
    return random.choice([toml_value(random), text(random), *usual])


# Files as somebody may have them, with all ways to write a table.
BEGUN = [
    "",
    "# Mine.\n\n# Colours\n[output]\nplain = true # yes\n",
    "timeouts.idle = 5\nmodel = 'x'\r\n",
    "providers = {a = {base_url = 'http://h'}} # all\n[cache]\n#mode = 'auto'\n",
    "[providers.a]\nend_marker = ''\n[output]\n[providers.b]\napi_key = '''\n[x]\n'''\n[profile.work]\n",
    "fallback = [\n 'a/b', # ]\n]\n[profile.work.timeouts]\nidle = 5",
]


def change(random: Random, path: Path) -> Key | None:
    """Set, or take away, something; return what, if that was done."""
    try:
        key = parse_key(key_text(random))
        if random.random() < 0.2:
            unset_value(path, key)
            assert Lines(path.read_text()).line_of(key) is None
        else:
            check_can_be_set(key)
            raw = value_text(random)
            set_value(path, key, [*read_value(raw), raw])
            assert spell_key(key) in flatten(read_config_file(path))
    except ChatllmError as error:
        assert error.message
        return None
    return key


def changed_keys(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the keys whose values differ."""
    old, new = ({key: value for key, value in flatten(each).items() if value != {}} for each in (before, after))
    return [key for key in {*old, *new} if repr(old.get(key)) != repr(new.get(key))]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_change_of_the_config_file_fails_or_leaves_one_that_does_not_load(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_HOME", str(quick))
    config = quick / "config.toml"
    done: list[Key | None] = []
    for seed in range(700):
        random = chance("change", seed)
        config.write_bytes(random.choice(BEGUN).encode())
        config.chmod(0o600)
        for step in range(3):
            case, before = f"seed {seed}, step {step}", config.read_bytes()
            assert check_file(config) == [], case
            with named(case):
                done.append(change(random, config))
            key = spell_key(done[-1] or ())
            changed = changed_keys(tomllib.loads(before.decode()), read_config_file(config))
            assert [each for each in changed if not f"{each}.".startswith(f"{key}.")] == [], case
            assert done[-1] or config.read_bytes() == before, case
        assert check_file(config) == [], f"seed {seed}"
    assert (len(done), 200 <= sum(map(bool, done)) <= 1_800) == (2_100, True)
    assert [path.name for path in quick.iterdir()] == ["config.toml"]
