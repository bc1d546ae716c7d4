import pytest

from chatllm_cli.config.addresses import host_of, is_loopback
from chatllm_cli.config.known_providers import KNOWN, SELF_ANNOUNCING
from chatllm_cli.config.sections import ProviderSettings
from docs.providers import PAGE, with_table


def test_the_page_on_providers_is_made_of_the_table() -> None:
    page = PAGE.read_text()
    assert with_table(page) == page
    assert all(f"| `{name}` | {known.base_url} |" in page for name, known in KNOWN.items())


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_address_is_one_that_could_be_set(name: str) -> None:
    known = KNOWN[name]
    assert ProviderSettings.model_validate({"base_url": known.base_url}).base_url == known.base_url
    assert (known.base_url.startswith("https://"), is_loopback(known.base_url)) == (
        not known.is_local,
        known.is_local,
    )


def test_no_two_share_a_host_or_a_variable() -> None:
    assert len({host_of(known.base_url) for known in KNOWN.values()}) == len(KNOWN)
    variables = [known.key_variable for known in KNOWN.values() if known.key_variable]
    assert len(set(variables)) == len(variables)


def test_only_servers_of_this_machine_announce_themselves() -> None:
    assert all(KNOWN[name].is_local for name in SELF_ANNOUNCING)
