"""What Edge Functions import is there before their first request."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from local_supabase.function_modules import download
from local_supabase.tools import Tools


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    entry = tmp_path / "functions" / "hello" / "index.ts"
    entry.parent.mkdir(parents=True)
    entry.write_text('import "npm:typebox@1.4.3";\n')
    return tmp_path / "functions"


@pytest.fixture
def fresh_tools(tools: Tools, tmp_path: Path) -> Tools:
    return replace(tools, folder=tmp_path)


def test_imports_are_downloaded_once_and_again_when_the_function_changes(functions: Path, fresh_tools: Tools) -> None:
    said: list[str] = []
    download(fresh_tools, functions, said.append)
    download(fresh_tools, functions, said.append)
    assert said == ["  Downloading what the Edge Function hello imports"]
    assert list((fresh_tools.folder / "deno" / "npm").glob("*/typebox/1.4.3"))
    (functions / "hello" / "other.ts").write_text("export {};\n")
    download(fresh_tools, functions, said.append)
    assert len(said) == 2


def test_without_a_registry_it_says_so_and_tries_again_the_next_time(
    functions: Path, fresh_tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:1/")
        download(fresh_tools, functions, said.append)
    assert "Is the npm registry reachable?" in said[-1]
    download(fresh_tools, functions, said.append)
    assert said[-1] == "  Downloading what the Edge Function hello imports"


def test_a_function_without_imports_needs_nothing(functions: Path, fresh_tools: Tools) -> None:
    (functions / "hello" / "index.ts").write_text("Deno.serve(() => new Response());\n")
    download(replace(fresh_tools, deno=Path(os.devnull)), functions, pytest.fail)
