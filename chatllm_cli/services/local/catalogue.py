"""Small instruct models that are known to be worth their size: each under a licence that lets anybody use it."""

from chatllm_cli.frozen import frozen


@frozen
class CatalogueEntry:
    """A model file on the hub; `megabytes` is about what it takes, on the disk and on the way."""

    name: str
    repository: str
    file: str
    megabytes: int
    licence: str
    good_for: str


CATALOGUE = (
    CatalogueEntry(
        "smollm2-360m",
        "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
        "smollm2-360m-instruct-q8_0.gguf",
        386,
        "Apache-2.0",
        "short English answers, anywhere",
    ),
    CatalogueEntry(
        "qwen2.5-0.5b",
        "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
        "qwen2.5-0.5b-instruct-q4_k_m.gguf",
        491,
        "Apache-2.0",
        "many languages, little memory",
    ),
    CatalogueEntry(
        "qwen2.5-coder-1.5b",
        "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        1117,
        "Apache-2.0",
        "code",
    ),
    CatalogueEntry(
        "qwen2.5-1.5b",
        "Qwen/Qwen2.5-1.5B-Instruct-GGUF",
        "qwen2.5-1.5b-instruct-q4_k_m.gguf",
        1117,
        "Apache-2.0",
        "everyday use, many languages",
    ),
    CatalogueEntry(
        "granite-3.3-2b",
        "ibm-granite/granite-3.3-2b-instruct-GGUF",
        "granite-3.3-2b-instruct-Q4_K_M.gguf",
        1545,
        "Apache-2.0",
        "summaries, and long texts",
    ),
    CatalogueEntry(
        "qwen3-4b",
        "unsloth/Qwen3-4B-Instruct-2507-GGUF",
        "Qwen3-4B-Instruct-2507-Q4_K_M.gguf",
        2497,
        "Apache-2.0",
        "the best answers, on 8 GB of RAM",
    ),
)


def find_entry(name: str) -> CatalogueEntry | None:
    """Return the model of that name, if the catalogue has it."""
    return next((entry for entry in CATALOGUE if entry.name == name), None)
