"""What the shell offers for a word that is being typed: quickly, from this machine alone, and without a complaint."""

from collections.abc import Iterable
from typing import Any

from chatllm_cli.config.profiles import PROFILE_TABLE, chosen_profile
from chatllm_cli.file_names import names_beginning

MOST_COMPLETED = 1000
LOCAL = "local/"

Candidates = list[tuple[str, str]]  # values, each with what is said of it


def complete_address(incomplete: str) -> Candidates:
    """Return the addresses that begin so, with their titles; and the titles, once there is something of one."""
    from chatllm_cli.cli.running import run  # noqa: PLC0415  (only the shell asks)

    found = run(lambda services: services.history.list(limit=MOST_COMPLETED)).conversations
    named = [
        (f"@{each.place}" if incomplete.startswith("@") else each.address, each.title, each.model) for each in found
    ]
    by_id = [(address, title) for address, title, _ in named if address.startswith(incomplete)]
    titles = [title for _, title, _ in named]
    by_title = [(title, model) for _, title, model in named if incomplete and title.startswith(incomplete)]
    return by_id + [(title, model) for title, model in by_title if titles.count(title) == 1]


def complete_model(incomplete: str) -> Candidates:
    """Return the aliases and providers that begin so, or the models of a provider that is named, as far as known."""
    provider, slash, _ = incomplete.partition("/")
    values = _values_in_force()
    if slash:
        addresses = _models_of(provider, values)
        return [(address, "") for address in dict.fromkeys(addresses) if address.startswith(incomplete)]
    aliases = _table(values, "aliases")
    found = [(name, str(address)) for name, address in aliases.items()]
    found += [(f"{name}/", url) for name, url in {"local": "on this machine", **_addresses(values)}.items()]
    return [(value, told) for value, told in found if value.startswith(incomplete)]


def _models_of(provider: str, values: dict[str, Any]) -> Iterable[str]:
    from chatllm_cli.config.places import find_places  # noqa: PLC0415  (only the shell asks)

    places = find_places()
    if f"{provider}/" == LOCAL:
        return [f"{LOCAL}{name}" for name in complete_pulled("")]
    from chatllm_cli.services.model_lists import remembered  # noqa: PLC0415

    named = [values.get("model"), *_table(values, "models"), *_table(values, "prices")]
    known = remembered(places.model_lists, provider, _addresses(values).get(provider, ""))
    return [*(each for each in named if isinstance(each, str)), *(f"{provider}/{model}" for model in known)]


def _addresses(values: dict[str, Any]) -> dict[str, str]:
    """Return the providers that are known or set up, and the address of each."""
    from chatllm_cli.config.known_providers import KNOWN  # noqa: PLC0415

    addresses = {"default": values.get("base_url")} if values.get("base_url") else {}
    addresses |= {name: known.base_url for name, known in KNOWN.items()}
    for name, provider in _table(values, "providers").items():
        addresses[name] = (provider.get("base_url") if isinstance(provider, dict) else None) or addresses.get(name)
    return {name: str(url or "").rstrip("/") for name, url in addresses.items()}


def complete_provider(incomplete: str) -> Candidates:
    """Return the providers that begin so, with their addresses."""
    return [each for each in _addresses(_values_in_force()).items() if each[0].startswith(incomplete)]


def complete_pulled(incomplete: str) -> list[str]:
    """Return the models that were pulled whose names begin so."""
    from chatllm_cli.config.places import find_places  # noqa: PLC0415  (only the shell asks)
    from chatllm_cli.services.local.pulled import PulledModels  # noqa: PLC0415

    return [name for name in PulledModels(find_places().models).names() if name.startswith(incomplete)]


def complete_catalogue(incomplete: str) -> Candidates:
    """Return the models that can be pulled by a name that begins so, with what they are good for."""
    from chatllm_cli.services.local.catalogue import CATALOGUE  # noqa: PLC0415  (only the shell asks)

    return [(each.name, each.good_for) for each in CATALOGUE if each.name.startswith(incomplete)]


def complete_prompt(incomplete: str) -> Candidates:
    """Return the prompts that begin so, with what they are for."""
    from chatllm_cli.config.places import find_places  # noqa: PLC0415  (only the shell asks)
    from chatllm_cli.services.prompts import Prompts  # noqa: PLC0415

    return [each for each in Prompts(find_places().prompts).glimpses() if each[0].startswith(incomplete)]


def complete_own_prompt(incomplete: str) -> list[str]:
    """Return the prompts of the user's own that begin so."""
    from chatllm_cli.config.places import find_places  # noqa: PLC0415  (only the shell asks)
    from chatllm_cli.services.prompts import Prompts  # noqa: PLC0415

    prompts = Prompts(find_places().prompts)
    return [name for name in prompts.names() if name.startswith(incomplete) and prompts.own(name).is_file()]


def complete_setting(incomplete: str) -> list[str]:
    """Return the settings, and what stands in the config file, that begin so."""
    from chatllm_cli.config.settings import Settings, all_fields  # noqa: PLC0415  (only the shell asks)

    in_profiles = [
        f"{PROFILE_TABLE}.{name}.{field}" for name in complete_profile("") for field in all_fields(Settings)
    ]
    known = dict.fromkeys([*_known_settings(_values_of_file()), *in_profiles])
    return [key for key in known if key.startswith(incomplete)]


def complete_setting_in_force(incomplete: str) -> list[str]:
    """Return the settings in force, and what else is set of them, that begin so."""
    return [key for key in _known_settings(_values_of_file_in_force()) if key.startswith(incomplete)]


def _known_settings(values: dict[str, Any]) -> list[str]:
    from chatllm_cli.config.settings import Settings, all_fields  # noqa: PLC0415  (only the shell asks)
    from chatllm_cli.config.sources import flatten  # noqa: PLC0415

    return list(dict.fromkeys([*all_fields(Settings), *flatten(values)]))


def complete_profile(incomplete: str) -> list[str]:
    """Return the profiles that begin so."""
    return [name for name in _table(_values_of_file(), PROFILE_TABLE) if name.startswith(incomplete)]


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    table = values.get(name)
    return table if isinstance(table, dict) else {}


def _values_in_force() -> dict[str, Any]:
    """Return what the file and the environment set, without looking whether it is right."""
    import os  # noqa: PLC0415

    from chatllm_cli.config.sources import foreign_variables, key_of, merged, nest, own_variables  # noqa: PLC0415

    values = merged(_values_of_file_in_force(), nest(foreign_variables()))
    for variable in own_variables():
        level: Any = os.environ[variable]
        for part in reversed(key_of(variable)):
            level = {part: level}
        values = merged(values, level)
    return values


def _values_of_file_in_force() -> dict[str, Any]:
    from chatllm_cli.config.sources import merged, without_profiles  # noqa: PLC0415  (only the shell asks)

    values = _values_of_file()
    return merged(without_profiles(values), _table(_table(values, PROFILE_TABLE), chosen_profile()))


def _values_of_file() -> dict[str, Any]:
    from chatllm_cli.config.places import find_places  # noqa: PLC0415  (only the shell asks)
    from chatllm_cli.config.sources import read_config_file  # noqa: PLC0415
    from chatllm_cli.errors import ConfigError  # noqa: PLC0415

    try:
        return read_config_file(find_places().config_file)
    except ConfigError:
        return {}


def complete_path(incomplete: str) -> list[str]:
    """Return the files and folders whose path begins so."""
    return names_beginning(incomplete)
