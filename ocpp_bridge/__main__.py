"""The console script `ocpp-bridge`."""

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code: 0 ended in order, 1 failed, 2 wrong usage or settings."""
    # Ctrl-C while modules load, which takes half a second, is no error: it ends without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from . import cli

    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())
