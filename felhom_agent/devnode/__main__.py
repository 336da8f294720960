"""`python -m felhom_agent.devnode [--port N] [--guests N] [--dir D]`; SIGINT or SIGTERM ends it."""

import signal
import sys

from felhom_agent.devnode.serve import main

if __name__ == "__main__":
    signals = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the first thread starts, so that every thread inherits it and only we hear.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    main(sys.argv[1:], lambda: signal.sigwait(signals))
