"""The trail, shipped: what deploy/ has for log shippers, with the programs themselves."""

import signal
import threading
import time
from collections import Counter

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.gateway import Gateway
from support.running import eventually
from support.shipping import DEPLOY, NAMED, Shipper, Sink, Trail, all_come, in_order, sequence, whole

SHIPPERS = ["otel-collector", "vector", "fluent-bit"]
# Those that send files again which were closed while they ran, once they are started anew.
SENDS_AGAIN = {"fluent-bit"}
# How long something that must not come is waited for: several times as long as any of them takes to look again.
AFTERMATH_SECONDS = 2


@pytest.fixture
def sink():
    sink = Sink()
    yield sink
    sink.stop()


@pytest.fixture(params=SHIPPERS)
def shipper(request, tmp_path, sink):
    shipper = Shipper(request.param, tmp_path, sink)
    yield shipper
    shipper.stop()


def test_every_line_comes_once_and_as_it_is_across_rotations_and_restarts(tmp_path, sink, shipper):
    trail = Trail(tmp_path)
    trail.write(700)
    trail.publish()
    shipper.start()
    all_come(trail.count, sink, shipper)

    # Written and rotated while it reads.
    for _ in range(3):
        trail.write(600)
        trail.rotate()
        trail.write(200)
        trail.publish()
    all_come(trail.count, sink, shipper)

    # Rotated twice while it is away. The answer to its last request has come by then: else it would have to ask again.
    time.sleep(AFTERMATH_SECONDS)
    shipper.stop()
    trail.write(500)
    trail.rotate()
    trail.write(500)
    trail.rotate()
    trail.write(300)
    trail.publish()
    shipper.start()
    all_come(trail.count, sink, shipper)

    # The other end is away, and it is restarted meanwhile.
    sink.away = True
    trail.write(400)
    trail.rotate()
    trail.write(100)
    while not sink.refused:
        time.sleep(0.05)
    shipper.stop()
    sink.away = False
    shipper.start()
    all_come(trail.count, sink, shipper)
    time.sleep(AFTERMATH_SECONDS)

    lines = sink.lines()
    if shipper.name not in SENDS_AGAIN:
        seen = Counter(sequence(line) for line in lines)
        assert not [number for number, times in seen.items() if times > 1], "some came twice"
    assert in_order(set(lines)) == whole(trail.path)
    assert notes(sink) == trail.checkpoints.read_text()


def test_a_shipper_that_is_killed_again_and_again_loses_nothing(tmp_path, sink, shipper):
    trail = Trail(tmp_path)
    over = threading.Event()

    def write():
        while not over.is_set():
            trail.write(50)
            if trail.count % 1_000 == 0:
                trail.rotate()
            time.sleep(0.02)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for round in range(5):
            shipper.start()
            time.sleep(1 + round / 5)
            shipper.kill()
    finally:
        over.set()
        writing.join()
    shipper.start()
    all_come(trail.count, sink, shipper)
    assert in_order(set(sink.lines())) == whole(trail.path)


def test_what_the_gateway_itself_writes_comes_as_it_is(development_server, tmp_path, sink, shipper):
    server = development_server
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "audit.key").write_bytes(key)
    (tmp_path / "audit.key").chmod(0o600)
    audit = {
        "file": str(tmp_path / "audit.jsonl"),
        "instance": "gateway-1",
        "compress": False,
        "rotate": {"size": "64KiB"},
        "checkpoints": {"key": str(tmp_path / "audit.key"), "every_records": 50},
    }
    auth = {"certificate": server.told["certificate"], "key": server.told["key"]}
    gateway = Gateway(tmp_path, {"entra": server.issuer(auth)}, {"mail": server.mail()}, audit=audit)
    shipper.start()
    for person in list(server.people.values()) * 75:
        assert gateway.call("/mail/me/messages", person["token"]).status_code == 200
    gateway.signal(signal.SIGUSR1)
    assert gateway.call("/mail/me/messages", "garbage").status_code == 401
    gateway.stop()

    written = whole(gateway.audit)
    assert len(list(tmp_path.glob("audit.jsonl.0*"))) > 2
    all_come(written.count(b"\n"), sink, shipper)
    stated = (tmp_path / "audit.jsonl.checkpoints").read_text()
    eventually("every checkpoint", lambda: len(notes(sink)) >= len(stated))
    time.sleep(AFTERMATH_SECONDS)
    assert in_order(sink.lines()) == written
    assert notes(sink) == stated


def notes(sink: Sink) -> str:
    """The checkpoints that have come, as they are kept: each followed by an empty line."""
    return "".join(f"{note.strip(chr(10))}\n\n" for note in sink.notes())


@pytest.mark.parametrize("name", SHIPPERS)
def test_each_configuration_reads_the_trail_and_gives_nothing_up(name):
    text = (DEPLOY / f"{name}.yaml").read_text()
    config = yaml.safe_load(text)
    files = {"otel-collector": otel_collector, "vector": vector, "fluent-bit": fluent_bit}[name](config)
    assert set(files) == {
        f"{NAMED}/audit.jsonl",
        f"{NAMED}/audit.jsonl.[0-9]*",
        f"{NAMED}/audit.jsonl.checkpoints",
    }


def otel_collector(config):
    pipeline = config["service"]["pipelines"]["logs"]
    for exporter in (config["exporters"][name] for name in pipeline["exporters"]):
        assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
        assert exporter["sending_queue"] == {"enabled": False}
    assert config["service"]["extensions"] == list(config["extensions"])
    assert pipeline["receivers"] == list(config["receivers"])
    for receiver in config["receivers"].values():
        assert receiver["storage"] in config["extensions"]
        assert (receiver["start_at"], receiver["force_flush_period"]) == ("beginning", "0s")
        yield from receiver["include"]


def vector(config):
    [sink] = config["sinks"].values()
    assert sink["inputs"] == list(config["sources"])
    assert sink["encoding"] == {"codec": "raw_message"} and sink["acknowledgements"] == {"enabled": True}
    assert config["data_dir"]
    for source in config["sources"].values():
        assert (source["type"], source["read_from"]) == ("file", "beginning")
        yield from source["include"]


def fluent_bit(config):
    # With checksums it loses lines when it is killed, as it did when this was tried with 5.1.1.
    assert config["service"]["storage.path"] and config["service"]["storage.checksum"] is False
    [output] = config["pipeline"]["outputs"]
    assert output["retry_limit"] == "no_limits" and output["json_date_key"] is False
    inputs = config["pipeline"]["inputs"]
    assert len({tail["db"] for tail in inputs}) == len(inputs)
    for tail in inputs:
        assert tail["storage.type"] == "filesystem" and tail["read_from_head"] is True
        hours = int(tail.get("ignore_older", "0h").removesuffix("h"))
        assert tail.get("rotate_wait", 1) > hours * 3_600, "a closed file would be sent twice"
        yield from tail["path"].split(",")
