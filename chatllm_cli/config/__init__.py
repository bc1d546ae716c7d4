"""Settings (flag > environment > config.toml > default) and the folders that everything lives in.

Import from the modules: `places` is light, the others bring pydantic, which takes a tenth of a second.
"""
