"""The folders and files that everything of one user lies in."""

import os
from pathlib import Path

import platformdirs

from chatllm_cli.errors import ConfigError
from chatllm_cli.frozen import frozen

HOME_VARIABLE = "CHATLLM_HOME"


@frozen
class Places:
    """The folders and the config file of one user."""

    config_file: Path
    data: Path
    cache: Path
    state: Path

    @property
    def keys(self) -> Path:
        """Where it is noted which keys are stored, and those lie that no keyring has."""
        return self.config_file.with_name("keys.json")

    @property
    def input_history(self) -> Path:
        """Where it is kept what was typed in the REPL."""
        return self.state / "input-history.jsonl"

    @property
    def prompts(self) -> Path:
        """Where the user's own prompts lie."""
        return self.config_file.with_name("prompts")

    @property
    def remembered_settings(self) -> Path:
        """Where settings are remembered that were found to be valid."""
        return self.state / "settings.json"

    @property
    def model_lists(self) -> Path:
        """Where the lists of the providers' models are kept for a day."""
        return self.cache / "models"

    @property
    def conversations(self) -> Path:
        """Where the history lies."""
        return self.data / "conversations"

    @property
    def attachments(self) -> Path:
        """Where the images lie that were attached to messages of the history."""
        return self.data / "attachments"

    @property
    def spending(self) -> Path:
        """Where it is noted what was spent on answers that are in no conversation."""
        return self.data / "spending"

    @property
    def models(self) -> Path:
        """Where the models lie that were pulled."""
        return self.data / "models"

    @property
    def index(self) -> Path:
        """Where the index of the history lies, which can always be built anew."""
        return self.cache / "index.db"

    @property
    def responses(self) -> Path:
        """Where the response cache lies."""
        return self.cache / "responses"


def find_places() -> Places:
    """Return the folders: all under `CHATLLM_HOME` if that is set, else the platform's own. Raises `ConfigError`."""
    if home := os.environ.get(HOME_VARIABLE):
        root = expand_user(home, HOME_VARIABLE)
        return Places(root / "config.toml", root / "data", root / "cache", root / "state")
    dirs = platformdirs.PlatformDirs("chatllm", appauthor=False)
    try:
        return Places(
            dirs.user_config_path / "config.toml", dirs.user_data_path, dirs.user_cache_path, dirs.user_state_path
        )
    except RuntimeError:
        raise ConfigError("there is no home folder", hint=f"set HOME, or {HOME_VARIABLE}") from None


def expand_user(path: str, setting: str) -> Path:
    """Return `path` made absolute, its ~ replaced. Raises `ConfigError` if there is no such user."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"{setting}: there is no home folder for {path.partition('/')[0]}") from None
