"""Play a charging station by hand."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ocpp-bridge simulate`."""


def main(args: argparse.Namespace) -> int:
    """Run the simulator."""
    return 0
