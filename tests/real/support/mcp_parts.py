"""The MCP parts that others wrote, and our programs that use them: fixture servers, the hop, the conformance suite."""

import json
import shutil
import subprocess
from pathlib import Path

from .parts import part
from .running import Running, free_port

PROGRAMS = Path(__file__).parent / "mcp_programs"
# Longest run of a suite. It takes seconds; one that hangs is to fail here and not at the end of CI's time.
SUITE_SECONDS = 300


def node() -> Path:
    """Node 22, which the conformance suite needs, whatever else is installed."""
    found = sorted(part("node").glob("node_modules/node-linux-*/bin/node"))
    assert found, "there is no Node for this machine's processor"
    return found[0]


def python() -> Path:
    return part("mcp-python") / "bin" / "python"


class Programs:
    """Our programs in a folder where Node finds the packages: it looks for them beside a program, wherever it is run."""

    def __init__(self, folder: Path):
        self.folder = folder / "programs"
        shutil.copytree(PROGRAMS, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        (self.folder / "node_modules").symlink_to(part("mcp-typescript") / "node_modules")

    def command(self, program: str, *arguments) -> list:
        runner = node() if program.endswith(".mjs") else python()
        return [runner, self.folder / program, *arguments]


class Listening:
    """A program of ours that listens on a port, which is its first argument, and says so."""

    def __init__(self, programs: Programs, program: str, *arguments, env: dict | None = None):
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        name = f"{program.split('.')[0]}-{port}"
        command = programs.command(program, port, *arguments)
        self._running = Running(name, command, programs.folder / f"{name}.log", env=env)
        self._running.ready_when(lambda: "listening" in self.output())

    @property
    def url(self) -> str:
        return f"{self.origin}/mcp"

    def output(self) -> str:
        return self._running.output()

    def stop(self) -> None:
        self._running.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def hop(programs: Programs, origin: str, token: str) -> Listening:
    """A way to `origin` on which every request gets a token: the conformance suite sends none."""
    return Listening(programs, "hop.mjs", origin, env={"TOKEN": token})


class Everything:
    """server-everything: a busy server of the legacy eras that others wrote."""

    def __init__(self, programs: Programs):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/mcp"
        program = part("mcp-typescript") / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
        command = [node(), "--import", programs.folder / "loopback.mjs", program, "streamableHttp"]
        log = programs.folder / f"server-everything-{port}.log"
        self._running = Running("server-everything", command, log, env={"PORT": str(port)})
        self._running.ready_when(lambda: "listening on port" in self._running.output())

    def stop(self) -> None:
        self._running.stop()


def conformance(suite: Path, url: str, folder: Path, *arguments) -> dict:
    """What the suite found at a server: for each scenario its checks, as (name, verdict), in their order.

    Whether a check counts is the suite's business; here only how each one ended is of interest, so the exit code is not.
    """
    program = suite / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    command = [node(), program, "server", "--url", url, "-o", folder, *arguments]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=SUITE_SECONDS, check=False
    )
    (folder.parent / f"{folder.name}.log").write_text(done.stdout + done.stderr)
    found = {}
    for file in sorted(folder.glob("server-*/checks.json")):
        # server-SCENARIO-2026-11-27T14-24-33-766Z
        scenario = file.parent.name.removeprefix("server-").rsplit("-", 6)[0]
        checks = json.loads(file.read_text())
        found[scenario] = [(check["id"], check["status"]) for check in checks if check["status"] != "INFO"]
    assert found, done.stdout[-4000:] + done.stderr[-4000:]
    return found
