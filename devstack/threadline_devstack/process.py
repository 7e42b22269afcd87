"""Child processes of the stack; each ends with the stack."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from threadline_devstack.account import Account

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1


def spawn(
    command: Sequence[str | Path],
    *,
    output: IO,
    end: signal.Signals,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Start a program that gets the signal `end` when this process dies, in whatever way (Linux only).

    Call it from the main thread: Linux ties that promise to the thread, not to the process. The child has a
    session of its own, so that Ctrl-C reaches us alone and we decide in which order things stop.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",  # the child's user may not be able to enter our folder
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **(environment or {})},
        start_new_session=True,
        preexec_fn=die_with_parent(end),  # runs after the change of user, which would undo it
        **(account.identity() if account else {}),
    )


def die_with_parent(end: signal.Signals) -> Callable[[], None] | None:
    """Return a function that asks for a signal at the parent's death; None on other systems than Linux."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(end))
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)

    return ask


def stop(process: subprocess.Popen, *escalation: tuple[signal.Signals, float]) -> None:
    """End a child: send each signal and wait its seconds, at last kill it. Ctrl-C does not cut this short."""
    with signals_handled_by(signal.SIG_IGN):
        for number, seconds in escalation:
            process.send_signal(number)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return
        process.kill()
        process.wait()


@contextmanager
def signals_handled_by(handler: Callable | signal.Handlers) -> Iterator[None]:
    """Give the signals that ask us to stop another handler, for the length of the block.

    `signal.default_int_handler` makes each of them a KeyboardInterrupt, so that `finally` and `with` do their work.
    One that is ignored stays ignored: `nohup` wants it so.
    """
    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number, current in previous.items():
        if current is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, current in previous.items():
            signal.signal(number, current)
