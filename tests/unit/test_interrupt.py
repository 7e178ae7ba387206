"""Ctrl-C in the first moments, while modules load."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# Runs a module as `python -m` does, and presses Ctrl-C when it begins to load supabase.
PROGRAM = """
import os, runpy, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == "supabase":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
sys.argv[1:] = []
runpy.run_module(MODULE, run_name="__main__")
"""
SETTINGS = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "key", "OCPP_PORT": "0"}


@pytest.mark.parametrize("module", ["ocpp_bridge", "demo"])
def test_ctrl_c_while_modules_load_leaves_no_traceback(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("MODULE", repr(module))],
        cwd=ROOT,
        env=SETTINGS,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGINT
    assert done.stdout + done.stderr == ""
