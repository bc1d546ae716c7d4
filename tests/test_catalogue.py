from chatllm_cli.services.local.catalogue import CATALOGUE, find_entry
from chatllm_cli.services.local.sources import find_source
from chatllm_cli.services.local.weights import BUNDLED_NAME

FREE = {"Apache-2.0", "MIT"}


def test_each_entry_can_be_pulled_by_its_name_and_used_by_anybody() -> None:
    for entry in CATALOGUE:
        source = find_source(entry.name, "https://hub.example")
        assert source.url == f"https://hub.example/{entry.repository}/resolve/main/{entry.file}"
        assert source.told == f"hf:{entry.repository}/{entry.file}"
        assert entry.licence in FREE
        assert entry.name != BUNDLED_NAME


def test_it_is_short_sorted_by_size_and_fits_on_small_machines() -> None:
    sizes = [entry.megabytes for entry in CATALOGUE]
    assert 5 <= len(sizes) <= 7
    assert sizes == sorted(sizes)
    assert (min(sizes) < 500, max(sizes) < 3000) == (True, True)
    assert len({entry.name for entry in CATALOGUE}) == len(CATALOGUE)


def test_a_name_it_does_not_have_is_none() -> None:
    assert find_entry("gpt-5") is None
