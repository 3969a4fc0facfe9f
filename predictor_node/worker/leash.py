"""Becomes an executable that the operating system ends when its worker ends, however that happens.

    python leash.py PARENT_PID EXECUTABLE

A program of its own, run before the executable takes its place: in a worker with threads nothing
may run between fork and exec. Where there is no prctl (not Linux), the end of standard input is
the only sign that the worker has gone.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CANNOT_RUN = 126


def become(parent_pid: int, executable: str) -> None:
    if sys.platform == "linux":
        import ctypes

        # Sent when the thread that started us ends: workers start executables in their main one.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before we had asked
        os._exit(CANNOT_RUN)
    try:
        os.execv(executable, [executable])
    except OSError as error:
        print(f"cannot run {executable}: {error}; a script needs a #! line", file=sys.stderr)
        sys.stderr.flush()
        os._exit(CANNOT_RUN)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2])
