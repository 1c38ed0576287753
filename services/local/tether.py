"""Become another program that dies with its parent.

Run as a script by path, so that it starts fast and imports nothing of ours:
    python -I -S tether.py PARENT_PID SIGNAL USER PROGRAM [ARGUMENT...]

The kernel sends SIGNAL to PROGRAM when the thread that started it ends, however it ends. A USER other than "-"
is a numeric id to become first. Beyond Linux there is no such signal, and the program is only started.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: str, signal_number: str, user: str, *command: str) -> None:
    """Replace this process by `command`; exits with 126 if it may not be run."""
    if user != "-":
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    if sys.platform == "linux":
        # Last before exec: a change of user clears it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit(0)
    try:
        os.execv(command[0], command)  # noqa: S606  (no shell is meant)
    except PermissionError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(126)


if __name__ == "__main__":
    main(*sys.argv[1:])
