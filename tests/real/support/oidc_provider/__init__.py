"""oidc-provider, which others wrote, as the authorization server of a service with accounts of its own."""

import shutil
from pathlib import Path

import requests

from ..connector import Introspection
from ..keycloak import GATEWAY_SECRET
from ..mcp_parts import node
from ..parts import part
from ..running import Running, free_port

PROGRAM = Path(__file__).parent / "server.mjs"


class OidcProvider:
    """People's accounts at a help desk. Its tokens say nothing to anybody but itself, so its connector has them looked at."""

    connector = "helpdesk"
    # A token is renewed when a quarter of its life is left.
    token_seconds = 6

    def __init__(self, folder: Path, callback: str):
        packages = part("oidc-provider") / "node_modules"
        programs = folder / "oidc-provider"
        programs.mkdir(parents=True)
        # Node looks for packages beside a program.
        program = Path(shutil.copy(PROGRAM, programs))
        (programs / "node_modules").symlink_to(packages)
        port = free_port()
        self.issuer = f"http://127.0.0.1:{port}"
        self.session = requests.Session()
        self.session.trust_env = False
        environment = {"SECRET": GATEWAY_SECRET, "ACCESS_TOKEN_SECONDS": str(self.token_seconds)}
        command = [node(), program, port, f"{callback}/{self.connector}"]
        self._running = Running("oidc-provider", command, programs / "server.log", environment)
        self._running.ready_when(lambda: "listening" in self._running.output())
        introspection = f"{self.issuer}/token/introspection"
        self.tokens = Introspection(introspection, ("helpdesk-api", GATEWAY_SECRET))

    def connections(self, client_auth: dict) -> dict:
        """What the configuration says of its connector."""
        return {
            self.connector: {
                "issuer": self.issuer,
                "client_id": "obo-gateway",
                "client_auth": client_auth,
                "scopes": ["openid", "email", "offline_access"],
                # Without it this server grants no access for when the person is away.
                "extra": {"prompt": "consent"},
            }
        }

    def enrol(self, person) -> None:
        """It knows everybody."""

    def account(self, person) -> str:
        return f"{person.username}@helpdesk.test"

    def sign_in(self, visitor, person) -> None:
        """What a person does on its pages."""
        # Who is signed in there already is not asked again.
        if visitor.page.locator("[name=login]").count():
            visitor.fill("[name=login]", person.username)
            visitor.fill("[name=password]", "whatever")
            visitor.press("Sign-in")
        visitor.press("Continue")

    def seen(self, what: str) -> list:
        """What it noted: see server.mjs."""
        return self.session.get(f"{self.issuer}/for-tests", timeout=30).json()[what]

    def refresh_tokens(self, person) -> list:
        """Those that it gave for a person's account, oldest first."""
        return [given["token"] for given in self.seen("refreshTokens") if given["account"] == person.username]

    def refresh(self, token: str) -> requests.Response:
        """What somebody does who has the gateway's secret and one of its refresh tokens."""
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return self.session.post(
            f"{self.issuer}/token", data=form, auth=("obo-gateway", GATEWAY_SECRET), timeout=30
        )

    def stop(self) -> None:
        self._running.stop()
