"""`make run`: see run.py."""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while modules load Ctrl-C ends without a traceback
    from .run import main

    sys.exit(main())
