import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from chatllm_cli.services.attachments.listing import Found, files_in, files_matching


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository, which is the current folder."""
    tree = tmp_path / "tree"
    for name in (
        "README.md", "src/b.py", "src/a.py", "src/deep/er/c.py", "src/data.json", "docs/one.md", "docs/two.md",
        "docs/sub/three.md", ".env", ".github/ci.yml", "src/.hidden/d.py", "build/out.py", "node_modules/x/i.js",
        "debug.log", "src/debug.log",
    ):  # fmt: skip
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / ".git").mkdir()
    (tree / ".gitignore").write_text("# what is made\nbuild/\n/node_modules\n*.log\n\n")
    monkeypatch.chdir(tree)
    return tree


def names(found: object) -> list[str]:
    return [each.name for each in found]  # type: ignore[attr-defined]


def test_a_folder_is_its_files_and_those_below_it_in_order(tree: Path) -> None:
    assert names(files_in(Path("src"), "src/")) == ["src/a.py", "src/b.py", "src/data.json", "src/deep/er/c.py"]
    assert next(files_in(Path("src"), "src")) == Found("src/a.py", Path("src/a.py"))


@pytest.mark.parametrize("spec", [".", "./"])
def test_the_files_of_the_current_folder_are_named_without_it(tree: Path, spec: str) -> None:
    assert names(files_in(Path(spec), spec))[:3] == ["README.md", "docs/one.md", "docs/sub/three.md"]


def test_what_gitignore_says_above_a_folder_holds_in_it(tree: Path) -> None:
    assert "src/debug.log" not in names(files_in(Path("src"), "src"))


def test_the_nearest_gitignore_has_the_last_word(tree: Path) -> None:
    (tree / "src" / ".gitignore").write_text("!debug.log\n/a.py\ndeep\n")
    assert names(files_in(Path("src"), "src")) == ["src/b.py", "src/data.json", "src/debug.log"]


def test_a_folder_that_is_named_is_meant_though_gitignore_leaves_it_out(tree: Path) -> None:
    (tree / "build" / ".gitignore").write_text("*.tmp\n")
    (tree / "build" / "a.tmp").touch()
    (tree / "build" / "b.log").touch()
    assert names(files_in(Path("build"), "build")) == ["build/b.log", "build/out.py"]


def test_a_folder_that_is_no_repository_has_its_own_gitignore(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("a*\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ".gitignore").write_text("b*\n")
    for name in "abc":
        (tmp_path / "in" / name).touch()
    assert names(files_in(tmp_path / "in", "in")) == ["in/a", "in/c"]


def test_a_gitignore_that_is_odd_costs_nothing(tree: Path) -> None:
    (tree / "src" / ".gitignore").write_bytes(b"!\n\xff\xfe\n[z-\n/data.json\n" + b"x" * 5000 + b"\n")
    (tree / "docs" / "sub" / ".gitignore").mkdir()
    os.mkfifo(tree / "docs" / ".gitignore")
    assert names(files_in(Path("src"), "src")) == ["src/a.py", "src/b.py", "src/deep/er/c.py"]
    assert names(files_in(Path("docs"), "docs")) == ["docs/one.md", "docs/sub/three.md", "docs/two.md"]


@pytest.mark.parametrize(
    "lines",
    ["*.py\n!a.py\n", "/src/*\n!/src/deep\n", "deep/\n", "src/**/c.py\n", "er\n", "\\#x\n*.json \n", "**/a.py\n"],
)
def test_what_is_left_out_is_what_git_leaves_out(tree: Path, lines: str) -> None:
    (tree / ".git").rmdir()
    subprocess.run(["git", "init", "-q", "."], check=True)
    (tree / ".gitignore").write_text(lines)
    listed = subprocess.run(
        ["git", "ls-files", "-oc", "--exclude-standard"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    visible = [name for name in listed if not any(part.startswith(".") for part in name.split("/"))]
    assert sorted(names(files_in(Path(), "."))) == sorted(visible)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({".gitignore": "*.key\n", "sub/.gitignore": "!certs/\n", "sub/certs/server.key": ""}, []),
        ({".gitignore": "*.key\n!certs/\n", "certs/server.key": "", "certs/a": ""}, ["certs/a"]),
        ({".gitignore": "*\n!*/\n!*.py\n", "src/a.py": "", "src/a.txt": ""}, ["src/a.py"]),
        ({".gitignore": "\ufeffsecret\n", "secret": ""}, []),
        ({".gitignore": "node_modules/\n!node_modules/keep/\n", "node_modules/keep/x.js": ""}, []),
        ({".gitignore": "# form\x0cfeed\nb\n", "feed": "", "b": ""}, ["feed"]),
    ],
)
def test_a_folder_that_is_taken_in_again_is_not_all_that_it_holds(
    tmp_path: Path, files: dict[str, str], found: list[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [each.name.removeprefix("x/") for each in files_in(tmp_path, "x")] == found


NAMES = ["a", "b", "ab", "c.txt", "a.txt", "d", "x y", "#h", "!e", "a\\b", "[z]", "\u00e4"]
PARTS = [
    "a", "b", "*", "**", "a*", "?", "*.txt", "[ab]", "[!a]", "d", "x y", "x\\ y", "\\#h", "#h", "\\!e", "!e", "[z]",
    "\\[z\\]", "a\\\\b", "c.txt", "**a", "[a-c]*", "[]-]", " ", "a ", "??", "[[:alpha:]]", "*b*",
]  # fmt: skip


def plant(folder: Path, chance: random.Random, depth: int = 0) -> None:
    """Fill a folder with files, folders and .gitignore files of any kind."""
    folder.mkdir()
    for name in chance.sample(NAMES, chance.randint(1, 6)):
        if depth < 3 and chance.random() < 0.5 and not name.endswith(".txt"):
            plant(folder / name, chance, depth + 1)
        else:
            (folder / name).touch()
    if chance.random() < 0.4 or not depth:
        lines = [
            chance.choice(["", "", "", "!", "/", "!/"])
            + "/".join(chance.choices(PARTS, k=chance.randint(1, 3)))
            + chance.choice(["", "", "", "/", "  ", "/\r"])
            for _ in range(chance.randint(1, 5))
        ]
        (folder / ".gitignore").write_text("\n".join(lines), newline="")


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
@pytest.mark.parametrize("seed", range(3))
def test_whatever_git_ignores_is_left_out_and_nothing_else(tmp_path: Path, seed: int) -> None:
    chance, forest = random.Random(seed), tmp_path / "forest"  # noqa: S311  (it keeps no secrets)
    forest.mkdir()
    subprocess.run(["git", "init", "-q", forest], check=True)
    for number in range(30):
        plant(forest / f"tree{number}", chance)
    files = [str(path.relative_to(forest)) for path in forest.rglob("*") if path.is_file()]
    visible = {name for name in files if not any(part.startswith(".") for part in name.split("/"))}
    ignored = subprocess.run(
        ["git", "-c", "core.excludesFile=", "check-ignore", "-z", "--stdin", "--no-index"],
        cwd=forest, input="\0".join(visible), capture_output=True, text=True, check=False,
    ).stdout.split("\0")  # fmt: skip
    assert {each.name.removeprefix("x/") for each in files_in(forest, "x")} == visible - set(ignored)


def test_links_are_followed_to_files_within_and_nowhere_else(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tree / "docs" / "out.md").symlink_to(tmp_path / "secret")
    (tree / "docs" / "away").symlink_to(tmp_path)
    (tree / "docs" / "round").symlink_to(tree / "docs")
    (tree / "docs" / "loop").symlink_to("loop")
    (tree / "docs" / "also.md").symlink_to("one.md")
    expected = ["docs/also.md", "docs/one.md", "docs/sub/three.md", "docs/two.md"]
    assert names(files_in(Path("docs"), "docs")) == expected
    assert names(files_matching("docs/**", "docs/**")) == expected


def test_a_link_is_no_way_to_what_is_left_out(tree: Path) -> None:
    for number, target in enumerate((".env", ".github/ci.yml", "debug.log", "build/out.py", "src/a.py")):
        (tree / f"link{number}.txt").symlink_to(target)
    (tree / "link5.txt").symlink_to("link0.txt")
    assert names(files_matching("link*", "link*")) == ["link4.txt"]
    assert [name for name in names(files_in(Path(), ".")) if name.startswith("link")] == ["link4.txt"]
    (tree / ".github" / "also.yml").symlink_to("ci.yml")
    assert names(files_matching(".github/*", ".github/*")) == [".github/also.yml", ".github/ci.yml"]


def test_what_is_no_file_is_passed_over(tree: Path) -> None:
    os.mkfifo(tree / "docs" / "pipe.md")
    assert names(files_matching("docs/*.md", "docs/*.md")) == ["docs/one.md", "docs/two.md"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.md", ["README.md"]),
        ("docs/*.md", ["docs/one.md", "docs/two.md"]),
        ("docs/t*", ["docs/two.md"]),
        ("*/*.py", ["src/a.py", "src/b.py"]),
        ("**/*.py", ["src/a.py", "src/b.py", "src/deep/er/c.py"]),
        ("src/**", ["src/a.py", "src/b.py", "src/data.json", "src/deep/er/c.py"]),
        ("src/**/**/c.py", ["src/deep/er/c.py"]),
        ("src/**/a.py", ["src/a.py"]),
        ("src/[ab].py", ["src/a.py", "src/b.py"]),
        ("src/?.py", ["src/a.py", "src/b.py"]),
        ("s*/d*/**/*.py", ["src/deep/er/c.py"]),
        ("*.log", []),
        ("*", ["README.md"]),
        (".g*/*", [".github/ci.yml"]),
        (".github/*", [".github/ci.yml"]),
        (".e*", [".env"]),
        ("none/*", []),
        ("docs/*/", []),
    ],
)
def test_a_glob_is_the_files_that_match(tree: Path, pattern: str, found: list[str]) -> None:
    assert names(files_matching(pattern, pattern)) == found


def test_files_are_named_as_the_pattern_was_written(tree: Path) -> None:
    assert names(files_matching(f"{tree}/docs/*.md", "~/docs/*.md")) == ["~/docs/one.md", "~/docs/two.md"]
    assert names(files_matching("docs/*.md", "./docs/*.md")) == ["./docs/one.md", "./docs/two.md"]


def test_a_folder_that_may_not_be_read_is_told_if_it_is_the_one(tree: Path) -> None:
    with pytest.raises(OSError, match="Not a directory"):
        next(files_in(tree / "README.md", "x"))
