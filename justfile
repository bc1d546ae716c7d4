# List the tasks
default:
    @just --list

# What every commit has to pass: all but the slow tests, about three minutes
quick: lint
    uv run pytest -m "not embedded and not slow"

# Everything that has to pass before a change lands
check:
    .ci/run

# Formatting, lint, types and the directions of imports
lint:
    uv run ruff format --check .
    uv run ruff check .
    uv run mypy
    uv run lint-imports

# All tests
test *arguments:
    uv run pytest {{arguments}}

# How fast all of it is, against peers and goals: docs/performance.md; twenty minutes, --quick one
bench *arguments:
    uv run python -m bench {{arguments}}

# Write config.example.toml anew after a change to the settings
example:
    uv run python -c "from chatllm_cli.settings_text import example_config; print(example_config(), end='')" > config.example.toml
