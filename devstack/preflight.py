"""What `make` checks before it installs anything, with nothing but Python: `python3 devstack/preflight.py [up]`."""

import importlib.util
import os
import socket
import sys

PORT, DB_PORT = "54321", "54322"  # as in threadline_devstack/project.py


def problem_of_python():
    """Return what is wrong with this Python, or None. Older ones run this too, so it has no annotations."""
    if sys.version_info < (3, 11):  # noqa: UP036 - it runs before anything else checks that
        return "Threadline needs Python 3.11 or later, and this is {}.{}: make PYTHON=python3.12 ...".format(
            *sys.version_info
        )
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        return "This Python cannot make a virtual environment: apt-get install python3-venv, then run make again."
    return None


def problem_of_ports():
    """Return which port is taken, or None. `threadline up` finds all else that is wrong with the variables."""
    http = os.environ.get("THREADLINE_PORT") or PORT
    if not http.isdecimal():
        return None
    database = os.environ.get("THREADLINE_DB_PORT") or (DB_PORT if http == PORT else str(int(http) + 1))
    for variable, port in (("THREADLINE_PORT", http), ("THREADLINE_DB_PORT", database)):
        if port.isdecimal() and int(port) < 65536:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", int(port)))
                except OSError as error:
                    return f"Port {port} cannot be used ({error.strerror}); set {variable} to another."
    return None


if __name__ == "__main__":
    problem = problem_of_python() or ("up" in sys.argv and problem_of_ports())
    sys.exit("Error: " + problem if problem else 0)
