"""Which profile is in force: the one of --profile, else the one of CHATLLM_PROFILE, else none."""

import os

PROFILE_VARIABLE = "CHATLLM_PROFILE"
PROFILE_TABLE = "profile"  # its name in the config file


def choose_profile(name: str | None) -> None:
    """Put a profile in force for the rest of this run, whatever the environment said; "" is none at all."""
    if name is not None:
        os.environ[PROFILE_VARIABLE] = name


def chosen_profile() -> str:
    """Return the name of the profile in force, "" for none."""
    return os.environ.get(PROFILE_VARIABLE, "")
