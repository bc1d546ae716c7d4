"""Which profile is in force: the one of --profile, else the one of CHATLLM_PROFILE, else none."""

import os
from contextvars import ContextVar

PROFILE_VARIABLE = "CHATLLM_PROFILE"
PROFILE_FLAG = "--profile"
PROFILE_TABLE = "profile"  # its name in the config file

_chosen: ContextVar[str | None] = ContextVar("profile", default=None)


def choose_profile(name: str | None) -> None:
    """Put a profile in force for the rest of this run; "" is none at all, None what the environment says."""
    _chosen.set(name)


def chosen_profile() -> tuple[str, str]:
    """Return the name of the profile in force, "" for none, and who chose it."""
    if (name := _chosen.get()) is not None:
        return name, PROFILE_FLAG
    return os.environ.get(PROFILE_VARIABLE, ""), f"environment variable {PROFILE_VARIABLE}"
