"""Run a command that ends when the process that started it does.

    python bound.py PARENT COMMAND ARGUMENT...

Linux sends the command SIGTERM when its parent dies, even by kill -9; the setting survives the
exec. Other systems have no such setting, and the command just runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(sys.argv[1]):
            sys.exit("the process that started this one is gone")
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the caller's own command, no shell
