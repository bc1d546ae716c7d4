"""Settings (flag > environment > config.toml > default) and the folders that everything lives in."""

from chatllm_cli.config.loading import known_secrets, load_settings, setting_origins
from chatllm_cli.config.places import Places, expand_user, find_places
from chatllm_cli.config.sections import (
    AS_OFTEN_AS_NEEDED,
    CacheSettings,
    LimitSettings,
    LocalSettings,
    ProviderSettings,
    RetrySettings,
    TimeoutSettings,
)
from chatllm_cli.config.settings import Settings, all_fields, section_of
from chatllm_cli.config.sources import FOREIGN_VARIABLES, flatten, read_config_file

__all__ = [
    "AS_OFTEN_AS_NEEDED",
    "FOREIGN_VARIABLES",
    "CacheSettings",
    "LimitSettings",
    "LocalSettings",
    "Places",
    "ProviderSettings",
    "RetrySettings",
    "Settings",
    "TimeoutSettings",
    "all_fields",
    "expand_user",
    "find_places",
    "flatten",
    "known_secrets",
    "load_settings",
    "read_config_file",
    "section_of",
    "setting_origins",
]
