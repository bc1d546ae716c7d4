from pathlib import Path

import pytest

from chatllm_cli.repl.mentions import Mentions, find_mentions


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    (folder / "src").mkdir(parents=True)
    for name in ("a.py", "src/b.py", "with blank.md", "odd,name"):
        (folder / name).touch()
    (Path.home() / "notes.md").touch()
    monkeypatch.chdir(folder)


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("see @a.py", ["a.py"]),
        ("@a.py and @src/b.py", ["a.py", "src/b.py"]),
        ("all of @src", ["src"]),
        ('@"with blank.md" please', ["with blank.md"]),
        ("is it @a.py?", ["a.py"]),
        ("(see @a.py)", ["a.py"]),
        ("@a.py, @a.py.", ["a.py"]),
        ("@odd,name", ["odd,name"]),
        ("@~/notes.md", ["~/notes.md"]),
        ("@src/*.py", ["src/*.py"]),
        ("@https://example.org/x.", ["https://example.org/x."]),
        ("all @*", []),
        ("@overload[T] and @nothing*.py", []),
        ("me@a.py", []),
        ("@ a.py", []),
        ("@john says hi", []),
        ("@decorator", []),
        ("", []),
    ],
)
def test_what_is_there_and_named_with_an_at_sign_is_meant(prompt: str, meant: list[str]) -> None:
    assert find_mentions(prompt) == Mentions(tuple(meant))


@pytest.mark.parametrize("name", ["b.py", "src/c.py", "./x", "/nowhere/at/all"])
def test_what_looks_like_a_file_and_is_not_there_is_missing(name: str) -> None:
    assert find_mentions(f"see @{name} now") == Mentions(missing=(name,))


def test_what_was_pasted_is_not_meant() -> None:
    assert find_mentions("please mend @a.py and @src", "mend @a.py") == Mentions(("src",), ("a.py",))
    assert find_mentions("@gone.py", "@gone.py") == Mentions()
    assert find_mentions("is it @a.py?", "is it @a.py") == Mentions(pasted=("a.py",))
    assert find_mentions("is it @a.py", "is it @a.py?") == Mentions(pasted=("a.py",))


@pytest.mark.parametrize("name", ["\0", "x" * 5000, "~nobody-here/x"])
def test_names_that_no_file_can_have_are_not_there(name: str) -> None:
    assert find_mentions(f"@{name}").meant == ()
