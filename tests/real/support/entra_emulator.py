"""entra-emulator: a double of Entra that others wrote, with its own directory, tokens and faults."""

from pathlib import Path

import requests

from .certificates import for_loopback
from .running import Running, free_port

# What it is seeded with.
TENANT = "6f89cf12-978b-4d23-ac18-9ef0c127cf87"
PEOPLE = {
    "alice": "df8ec5dd-1599-45ef-908b-4ae020cd1dbe",
    "bob": "0d4ba1f9-cab1-4200-b516-d4cb8b340930",
}
# A public client: the agent.
AGENT = "189c7070-78a3-4c13-aa18-20a2ca5755ca"
# A confidential one: the gateway.
GATEWAY = "00d88624-f0d7-46f6-a641-6232c2608928"
GATEWAY_SECRET = "daemon-app-secret"
GRAPH = "https://graph.microsoft.com"


class EntraEmulator:
    def __init__(self, program: Path, folder: Path):
        port = free_port()
        self.origin = f"https://localhost:{port}"
        # The one that it would make itself is an authority and a server at once, which the gateway does not accept.
        key, certificate, self.trust = for_loopback(folder)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(self.trust)
        environment = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "ORIGIN_MODE": "compat",
            "ENTRA_DATA_DIR": str(folder),
            "TLS_CERT": str(certificate),
            "TLS_KEY": str(key),
        }
        self._running = Running("entra-emulator", [program], folder / "emulator.log", environment, cwd=folder)
        self._running.ready_when(self._is_ready)
        self.issuer = f"{self.origin}/{TENANT}/v2.0"
        self.jwks_uri = f"{self.origin}/{TENANT}/discovery/v2.0/keys"

    def _is_ready(self) -> bool:
        try:
            url = f"{self.origin}/{TENANT}/v2.0/.well-known/openid-configuration"
            return self._session.get(url, timeout=10).status_code == 200
        except requests.RequestException:
            return False

    def administer(self, method: str, path: str, json=None):
        answer = self._session.request(method, f"{self.origin}/admin/api{path}", json=json, timeout=60)
        assert answer.ok, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def token(self, person: str | None, **more) -> str:
        """An access token for the gateway, as the agent gets it; `more` makes it another."""
        asked = {"clientId": AGENT, "audience": f"api://{GATEWAY}", "scopes": ["access_as_user"], **more}
        if person:
            asked["userId"] = PEOPLE[person]
        return self.administer("POST", "/tokens", json=asked)["token"]

    def stop(self) -> None:
        self._running.stop()
