"""What ships a trail, what it is shipped to, and the trail."""

import gzip
import hashlib
import json
import re
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .parts import part
from .running import Running, eventually

DEPLOY = Path(__file__).parents[3] / "deploy"
NAMED = "/var/log/obo-gateway"


class Sink:
    """The other end: takes lines over HTTP as each shipper sends them, unless it is told to be away."""

    def __init__(self):
        self.away = False
        self.refused = 0
        self._lock = threading.Lock()
        self._texts = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                self.send_response(sink.take(self.path, body))
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> int:
        if self.away:
            self.refused += 1
            return 503
        texts = list(TEXTS[path](body))
        with self._lock:
            self._texts += texts
        return 200

    def texts(self) -> list:
        """What has come, in the order in which it came."""
        with self._lock:
            return list(self._texts)

    def lines(self) -> list:
        return [text.encode() for text in self.texts() if text.startswith("{")]

    def notes(self) -> list:
        return [text for text in self.texts() if text.startswith("obo-gateway.audit/")]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _of_otlp(body: bytes):
    for resource in json.loads(body)["resourceLogs"]:
        for scope in resource["scopeLogs"]:
            for record in scope["logRecords"]:
                yield record["body"]["stringValue"]


def _of_fluent_bit(body: bytes):
    for line in body.splitlines():
        yield json.loads(line)["log"]


def _of_vector(body: bytes):
    # A note has line breaks of its own.
    yield from re.split(r"\n(?=\{|obo-gateway\.audit/)", body.decode().rstrip("\n"))


# How each shipper sends lines, by where it sends them to.
TEXTS = {"/otel-collector": _of_otlp, "/fluent-bit": _of_fluent_bit, "/vector": _of_vector}


class Shipper:
    """A shipper with the configuration in deploy/, its places replaced. It may be stopped and started again."""

    def __init__(self, name: str, folder: Path, sink: Sink):
        self.name = name
        self._program = part(name)
        self._folder = folder / name
        self._folder.mkdir()
        self.config = self._folder / f"{name}.yaml"
        text = (DEPLOY / f"{name}.yaml").read_text()
        host, port = sink.origin.removeprefix("http://").split(":")
        for named, here in (
            (NAMED, str(folder)),
            ("/var/lib/otelcol/obo-gateway", str(self._folder / "state")),
            ("/var/lib/fluent-bit/obo-gateway", str(self._folder / "state")),
            ("/var/lib/vector", str(self._folder / "state")),
            ("https://logs.example/v1/logs", f"{sink.origin}/{name}"),
            ("https://logs.example/audit", f"{sink.origin}/{name}"),
            ("host: logs.example", f"host: {host}"),
            ("port: 443", f"port: {port}"),
            ("uri: /audit", f"uri: /{name}"),
            ("tls: on", "tls: off"),
        ):
            text = text.replace(named, here)
        assert "logs.example" not in text and "/var/" not in text, text
        self.config.write_text(text)
        (self._folder / "state").mkdir()
        self._starts = 0
        self._running = None

    def start(self) -> None:
        command = {
            "otel-collector": ["--config", self.config, "--feature-gates=stanza.synchronousLogEmitter"],
            "fluent-bit": ["--config", self.config],
            "vector": ["--config", self.config],
        }[self.name]
        self._starts += 1
        log = self._folder / f"{self._starts}.log"
        self._running = Running(self.name, [self._program, *command], log)

    def stop(self) -> None:
        """As an operator stops it."""
        if self._running:
            self._running.stop()

    def kill(self) -> None:
        """As a machine does that has no memory left."""
        self._running.signal(signal.SIGKILL)
        self._running.process.wait()

    def log(self) -> str:
        return self._running.output()

    def is_running(self) -> bool:
        return self._running.process.poll() is None


class Trail:
    """A trail as a gateway writes it (src/audit/link.rs, src/audit/files.rs): lines that hold on to each other, in a file that is
    closed by renaming it."""

    def __init__(self, folder: Path):
        self.path = folder / "audit.jsonl"
        self.checkpoints = folder / "audit.jsonl.checkpoints"
        self.count = 0
        self._previous = "0" * 64
        self._first = 1
        self._file = self.path.open("ab", buffering=0)

    def write(self, count: int) -> None:
        """So many lines, some with what a shipper may take for something else."""
        for _ in range(count):
            self.count += 1
            user_agent = ODDITIES[self.count % len(ODDITIES)]
            record = {"class_uid": 6003, "time": self.count, "actor": {"app_uid": user_agent}, "metadata": {"uid": "u"}}
            text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).removesuffix("}}")
            text += (
                f',"sequence":{self.count},"tags":[{{"name":"instance","value":"gateway-1"}},'
                f'{{"name":"boot","value":"000000000000b007"}},{{"name":"previous","value":"{self._previous}"}}]}}}}'
            )
            line = text.encode()
            self._previous = hashlib.sha256(line).hexdigest()
            self._file.write(line + b"\n")

    def rotate(self) -> None:
        self._file.close()
        self.path.rename(f"{self.path}.{self._first:016}")
        self._first = self.count + 1
        self._file = self.path.open("ab", buffering=0)

    def publish(self) -> None:
        """A checkpoint, as src/audit/checkpoint.rs signs one."""
        note = (
            f"obo-gateway.audit/gateway-1\n{self.count}\nhash\nboot 000000000000b007\ntime 1\n\n— name c2lnbmF0dXJl\n"
        )
        with self.checkpoints.open("ab", buffering=0) as file:
            file.write(f"{note}\n".encode())


def whole(trail: Path) -> bytes:
    """All files of a trail, one after the other."""
    closed = sorted(trail.parent.glob(f"{trail.name}.[0-9]*"))
    return b"".join(path.read_bytes() for path in [*closed, trail])


ODDITIES = [
    "agent",
    "with  spaces ",
    "Zoë \U0001f600 日本",
    "\\n\\r\\t \\u0000 \t",
    '{"class_uid":6003}',
    "%s ${HOME} $$ {{ x }}",
    "x" * 40_000,
    "\x1b[31m",
]


def sequence(line: bytes) -> int:
    return json.loads(line)["metadata"]["sequence"]


def in_order(lines) -> bytes:
    """A trail put together of its lines."""
    return b"".join(line + b"\n" for line in sorted(lines, key=sequence))


def all_come(count: int, sink: Sink, shipper: Shipper) -> None:
    """Waits until so many lines have come, each counted once."""

    def come_or_dead():
        return len(set(sink.lines())) >= count or not shipper.is_running()

    try:
        eventually(f"{count} lines", come_or_dead)
        assert shipper.is_running(), f"{shipper.name} ended"
    except AssertionError as error:
        raise AssertionError(f"{error}: {len(set(sink.lines()))} came\n{shipper.log()[-4000:]}") from None
