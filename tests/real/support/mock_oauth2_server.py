"""navikt's mock-oauth2-server: an issuer for each first segment of a path, and tokens for whoever asks."""

import json
import uuid
from pathlib import Path

import requests

from .running import Running, free_port

TENANT = "7c1e5b0a-4b1d-4c59-9f43-2d6f1a8be100"
# Object ids, as Entra has them. In the other issuers people are called by their names.
OBJECT_IDS = {"ada": str(uuid.uuid4()), "bob": str(uuid.uuid4())}


class MockOAuth2Server:
    def __init__(self, libraries: Path, folder: Path):
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        self._session = requests.Session()
        self._session.trust_env = False
        main = "no.nav.security.mock.oauth2.StandaloneMockOAuth2ServerKt"
        environment = {
            "SERVER_HOSTNAME": "127.0.0.1",
            "SERVER_PORT": str(port),
            "JSON_CONFIG": json.dumps(_configuration()),
        }
        command = ["java", "-Xmx256m", "-cp", f"{libraries}/*", main]
        self._running = Running("mock-oauth2-server", command, folder / "mock-oauth2-server.log", environment)
        self._running.ready_when(self._is_ready)

    def _is_ready(self) -> bool:
        try:
            return self._session.get(f"{self.origin}/isalive", timeout=10).status_code == 200
        except requests.RequestException:
            return False

    def issuer(self, name: str) -> str:
        return f"{self.origin}/{name}"

    def sign_in(self, issuer: str, person: str) -> str:
        """The person's access token for the gateway, as the agent gets it."""
        form = {
            "grant_type": "password",
            "username": person,
            "password": "any will do",
            "client_id": f"agent-of-{person}" if issuer == TENANT else "agent",
            "client_secret": "any will do",
            "scope": "obo-gateway",
        }
        answer = self._session.post(f"{self.issuer(issuer)}/token", data=form, timeout=60)
        assert answer.ok, answer.text
        return answer.json()["access_token"]

    def stop(self) -> None:
        self._running.stop()


def _configuration() -> dict:
    """What its tokens say beside `sub`, which is the user name, and `aud`, which is the scope asked for."""
    mapping = lambda parameter, match, claims: {  # noqa: E731
        "requestParam": parameter,
        "match": match,
        "claims": claims,
    }
    entra = lambda person: mapping(  # noqa: E731
        "client_id",
        f"agent-of-{person}",
        {
            "aud": ["api://obo-gateway"],
            "azp": f"agent-of-{person}",
            "oid": OBJECT_IDS[person],
            "scp": "access_as_user",
            "tid": TENANT,
            "ver": "2.0",
        },
    )
    callback = lambda issuer, mappings: {  # noqa: E731
        "issuerId": issuer,
        "tokenExpiry": 3600,
        "requestMappings": mappings,
    }
    agent = mapping("client_id", "agent", {"aud": ["obo-gateway"], "azp": "agent"})
    # The server gives out whatever it is told to: here, what no server should.
    for_another = mapping("audience", "confused-connector", {"aud": ["somebody-else"]})
    of_another = mapping("audience", "treacherous-connector", {"aud": ["treacherous-connector"], "sub": "bob"})
    mail = [mapping(name, "mail-connector", {"aud": ["mail-connector"]}) for name in ("audience", "scope")]
    entra_mail = mapping("scope", "api://mail/Mail.Read", {"aud": ["api://mail"], "scp": "Mail.Read"})
    return {
        "interactiveLogin": False,
        "httpServer": "NettyWrapper",
        "tokenCallbacks": [
            callback("staff", [agent, for_another, of_another, *mail]),
            callback(TENANT, [entra("ada"), entra("bob"), entra_mail]),
        ],
    }
