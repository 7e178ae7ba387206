"""Tools of the project share .local/env."""

from pathlib import Path

from local_supabase import env_file


def test_other_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "env"
    env_file.update(path, {"A": "1", "B": "x=y"})
    with path.open("a") as file:
        file.write("# a comment\nMINE=kept\n")
    env_file.update(path, {"A": "2", "C": "3"})
    assert env_file.read(path) == {"A": "2", "B": "x=y", "C": "3", "MINE": "kept"}
    assert "# a comment" in path.read_text()


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "env"
    env_file.update(path, {"SECRET": "1"})
    env_file.update(path, {"SECRET": "2"})
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_empty(tmp_path: Path) -> None:
    assert env_file.read(tmp_path / "env") == {}
