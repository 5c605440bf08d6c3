"""A connector that trusts nobody: it checks each delegated token against the authorization server's own keys."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import requests


class _Server(ThreadingHTTPServer):
    # As many connections as come at once. Of those beyond it the system drops the first packet, and they take seconds.
    request_queue_size = 128


class KeySet:
    """The keys that an authorization server publishes, fetched for every token: rotation cannot surprise it."""

    def __init__(self, jwks_uri: str, verify=True):
        self._jwks_uri = jwks_uri
        self._verify = verify
        self._session = requests.Session()
        self._session.trust_env = False

    def claims(self, token: str, issuer: str, audience: str) -> dict:
        """What a token says, if it is that issuer's, for that audience, and good now."""
        kid = jwt.get_unverified_header(token)["kid"]
        answer = self._session.get(self._jwks_uri, timeout=30, verify=self._verify).json()
        keys = [key for key in jwt.PyJWKSet.from_dict(answer).keys if key.key_id == kid]
        assert keys, f"no key {kid} among those of {self._jwks_uri}"
        return jwt.decode(
            token,
            keys[0],
            algorithms=["RS256", "PS256", "ES256"],
            audience=audience,
            issuer=issuer,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )


class Introspection:
    """An authorization server that is asked about every token (RFC 7662), so that one that it revoked is known at once."""

    def __init__(self, endpoint: str, client: tuple):
        self._endpoint = endpoint
        self._client = client

    def claims(self, token: str, issuer: str, audience: str) -> dict:
        """What a token says, if it is that issuer's and good now. Its tokens name no audience."""
        said = self._ask(token)
        assert said["active"] is True, said
        assert said["iss"] == issuer, said
        return said

    def is_active(self, token: str) -> bool:
        return self._ask(token)["active"]

    def _ask(self, token: str) -> dict:
        with requests.Session() as session:
            session.trust_env = False
            return session.post(self._endpoint, data={"token": token}, auth=self._client, timeout=30).json()


@dataclass
class Seen:
    """A request that the connector received."""

    path: str
    token: str
    claims: dict | None
    fault: str | None
    body: bytes = b""


class Connector:
    """Answers a good token with what it says, and any other with 401."""

    def __init__(self, audience: str, issuer: str, key_set: KeySet):
        self.seen: list[Seen] = []
        connector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                token = self.headers.get("authorization", "").removeprefix("Bearer ")
                received = self.rfile.read(int(self.headers.get("content-length", 0)))
                try:
                    seen = Seen(self.path, token, key_set.claims(token, issuer, audience), None, received)
                except Exception as error:  # whatever is wrong with it, it is not let in
                    seen = Seen(self.path, token, None, f"{type(error).__name__}: {error}", received)
                connector.seen.append(seen)
                body = json.dumps({"claims": seen.claims, "fault": seen.fault}).encode()
                self.send_response(200 if seen.claims else 401)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
