"""The gateway, as operators run it: the program, with a configuration file."""

import json
import os
import re
import subprocess
from pathlib import Path

import requests

from .running import Running, eventually, free_port

PROGRAM = Path(os.environ["OBO_GATEWAY"])


class Gateway:
    """A running gateway. `issuers`, `connectors` and the rules of `allow` are the configuration's, as data; JSON is YAML.

    Without rules everybody may call every tool. Without an `origin` any free port will do. `more` are further keys.
    """

    def __init__(
        self,
        folder: Path,
        issuers: dict,
        connectors: dict,
        allow: list | None = None,
        origin: str | None = None,
        **more,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.audit = folder / "audit.jsonl"
        self.config = folder / "gateway.yaml"
        self.origin = origin or f"http://127.0.0.1:{free_port()}"
        self.admin = f"http://127.0.0.1:{free_port()}"
        self._written = {
            "listen": self.origin.removeprefix("http://"),
            "admin": self.admin.removeprefix("http://"),
            "timeouts": {"drain": "2s"},
            "issuers": issuers,
            "connectors": connectors,
            "policy": {"allow": allow or [{"name": "everybody", "tools": ["*/*"]}]},
            "audit": {"file": str(self.audit)},
            **more,
        }
        self.config.write_text(json.dumps(self._written, indent=2))
        self._session = requests.Session()
        self._session.trust_env = False
        self.start()

    def start(self) -> None:
        """Starts it: again, when it was killed."""
        command = [PROGRAM, "run", "--config", self.config]
        self._running = Running("obo-gateway", command, self.folder / "gateway.log")
        self._running.ready_when(self._is_ready)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._running.kill()

    def _is_ready(self) -> bool:
        try:
            return self._session.get(f"{self.admin}/readyz", timeout=10).status_code == 200
        except requests.ConnectionError:
            return False

    def call(self, path: str, token: str, method: str = "GET", session=None, **more) -> requests.Response:
        """A tool call of an agent, with the person's token."""
        headers = {"authorization": f"Bearer {token}"}
        # A session keeps connections; it is not shared between threads.
        return (session or self._session).request(method, self.origin + path, headers=headers, timeout=60, **more)

    def metric(self, series: str) -> float:
        """The value of a series, written as in the exposition; 0 while there is none."""
        text = self._session.get(f"{self.admin}/metrics", timeout=10).text
        found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def exchanges(self, issuer: str, outcome: str = "issued") -> int:
        labels = f'{{issuer="{issuer}",outcome="{outcome}"}}'
        return int(self.metric(f"obo_gateway_exchanges_total{labels}"))

    def application_tokens(self, issuer: str, outcome: str = "issued") -> int:
        labels = f'{{issuer="{issuer}",outcome="{outcome}"}}'
        return int(self.metric(f"obo_gateway_application_tokens_total{labels}"))

    def cache_lookups(self, result: str) -> int:
        return int(self.metric(f'obo_gateway_credential_cache_lookups_total{{result="{result}"}}'))

    def records(self, count: int) -> list:
        """The audit records of calls, once there are so many."""

        def written():
            lines = self.audit.read_text().splitlines() if self.audit.exists() else []
            records = [record for record in map(json.loads, lines) if record["class_uid"] == 6003]
            return records if len(records) >= count else None

        return eventually(f"{count} records", written)

    def forget(self, issuer: str, subject: str) -> dict:
        """What an operator does when somebody leaves."""
        command = [PROGRAM, "forget", "--config", self.config, "--issuer", issuer, "--subject", subject]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout)

    def signal(self, number: int) -> None:
        self._running.signal(number)

    def log(self) -> str:
        return self._running.output()

    def stop(self) -> None:
        self._session.close()
        self._running.stop()


def refusal(response: requests.Response) -> tuple:
    """The status and code of a refusal, which has to be one in full: a problem with a remedy."""
    assert response.headers["content-type"] == "application/problem+json", (response.status_code, response.text)
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["remedy"].endswith("."), problem
    if response.status_code == 401:
        assert response.headers["www-authenticate"].startswith("Bearer "), response.headers
    return response.status_code, problem["code"]
