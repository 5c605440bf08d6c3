"""A client of an MCP SDK, run as a program of its own and driven a line at a time; see mcp_programs/driver.mjs."""

import json
import queue
import subprocess
import threading

from .mcp_parts import Programs
from .running import PATIENCE_SECONDS, STOP_SECONDS


class Fault(Exception):
    """The SDK raised something."""

    def __init__(self, fault: dict):
        super().__init__(f"{fault['kind']} {fault['code']}: {fault['message']}")
        self.kind, self.code, self.message = fault["kind"], fault["code"], fault["message"]
        self.data, self.elicitations = fault.get("data"), fault.get("elicitations")


class UnderWay:
    """Something that the client was told to do. It may be ended by what the test does in between."""

    def __init__(self, number: int):
        self.number = number
        self._lines: queue.Queue = queue.Queue()

    def put(self, line: dict) -> None:
        self._lines.put(line)

    def _next(self) -> dict:
        try:
            return self._lines.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            raise AssertionError("nothing came of it") from None

    def event(self) -> dict:
        """What comes next while it is done. It is a fault when it ends instead."""
        line = self._next()
        assert "event" in line, line
        return line["event"]

    def result(self):
        """How it ended, whatever was told before."""
        while "event" in (line := self._next()):
            pass
        if "fault" in line:
            raise Fault(line["fault"])
        return line["result"]


class SdkClient:
    """`program` is one of the clients in mcp_programs; `trust` is a file of authorities that Node is to trust."""

    def __init__(self, programs: Programs, program: str, trust: str | None = None):
        self._errors = (programs.folder / f"{program}-{id(self)}.log").open("wb")
        self._process = subprocess.Popen(
            [str(word) for word in programs.command(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={"NODE_EXTRA_CA_CERTS": trust} if trust else {},
        )
        self._under_way: dict[int, UnderWay] = {}
        self._notified: queue.Queue = queue.Queue()
        self._asked: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            told = json.loads(line)
            if "notified" in told:
                self._notified.put(told["notified"])
            elif "asked" in told:
                self._asked.put(told["asked"])
            else:
                self._under_way[told["id"]].put(told)
        for begun in self._under_way.values():
            begun.put({"fault": {"kind": "Ended", "code": None, "message": "the client ended"}})

    def begin(self, verb: str, **given) -> UnderWay:
        begun = UnderWay(len(self._under_way) + 1)
        self._under_way[begun.number] = begun
        self._process.stdin.write(json.dumps({"id": begun.number, "verb": verb, "given": given}) + "\n")
        self._process.stdin.flush()
        return begun

    def do(self, verb: str, **given):
        return self.begin(verb, **given).result()

    def call(self, name: str, **arguments) -> str:
        """The text of what a tool answers."""
        return text_of(self.do("call_tool", name=name, arguments=arguments))

    def notified(self) -> str:
        """The next notification that nobody asked for."""
        return self._notified.get(timeout=PATIENCE_SECONDS)

    def asked(self) -> dict:
        """What the person is asked next: since their answer was said (`answer`), the client tells of it."""
        return self._asked.get(timeout=PATIENCE_SECONDS)

    def asked_so_far(self) -> list:
        """What else they were asked by now."""
        found = []
        while not self._asked.empty():
            found.append(self._asked.get())
        return found

    def stop(self) -> None:
        # It ends with its input, also when the tests are killed.
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def text_of(result: dict) -> str:
    assert not result.get("isError"), result
    (content,) = result["content"]
    return content["text"]
