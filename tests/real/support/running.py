"""Processes that end with the test run, however it ends."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

# Longest wait for anything to come true. Far longer than any of it takes, so that time decides no test.
PATIENCE_SECONDS = 120
# How long something that was told to stop may take before it is killed.
STOP_SECONDS = 20
# From <sys/prctl.h>.
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def free_port() -> int:
    """A loopback port that nobody uses. The system does not give it out again soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what: str, is_true, every: float = 0.05, patience: float = PATIENCE_SECONDS):
    """Waits until `is_true` returns something true, and returns that."""
    deadline = time.monotonic() + patience
    while True:
        found = is_true()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(every)


def _die_with_the_tests():
    # Also when they are killed, and no `finally` runs.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Running:
    """A started program whose output goes to a file."""

    def __init__(self, name: str, command: list, log: Path, env: dict | None = None, cwd: Path | None = None):
        self.name = name
        self.log = log
        # What is started again goes on where it was.
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_die_with_the_tests,
            )

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def ready_when(self, is_ready) -> None:
        """Waits until `is_ready`, unless the program ends before."""

        def ready_or_dead():
            return is_ready() or self.process.poll() is not None

        try:
            eventually(f"{self.name} is ready", ready_or_dead, every=0.1)
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.output()[-4000:]}") from None

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        # All of its session: some are started by a shell script.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
