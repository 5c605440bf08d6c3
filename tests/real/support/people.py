"""People: the company that vouches for them, services where they have accounts of their own, and the gateway between."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import requests

from .certificates import for_loopback
from .connector import Connector, KeySet
from .gateway import Gateway
from .keycloak import GATEWAY_SECRET, PASSWORD, Keycloak
from .running import free_port

PLANNER, ASSISTANT = "travel-planner", "sales-assistant"
# As runtimes name agents that they make up by the hundred.
LONG_AGENT = "https://agents.contoso.test/runtimes/eu-north-1/quarterly-revenue-forecasting/agents/production/v2"
LONG_CONNECTOR = "quarterly-revenue-forecasting-and-planning-workspace-north"


@dataclass(frozen=True)
class Person:
    """Somebody of the company, with an account at each service."""

    username: str
    name: str


def keycloak_sign_in(visitor, username: str) -> None:
    """What a person does on Keycloak's page."""
    visitor.fill("#username", username)
    visitor.fill("#password", PASSWORD)
    visitor.press("Sign In")


def _client(client_id: str, *redirects: str, **more) -> dict:
    return {
        "clientId": client_id,
        "secret": GATEWAY_SECRET,
        "standardFlowEnabled": True,
        "redirectUris": list(redirects),
        **more,
    }


def _audience(audience: str) -> dict:
    return {
        "name": f"audience {audience}",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": audience, "access.token.claim": "true"},
    }


class _Realm:
    def __init__(self, keycloak: Keycloak, name: str, **more):
        self.keycloak = keycloak
        self.name = name
        self.issuer = f"{keycloak.origin}/realms/{name}"
        keycloak.administer("POST", "", json={"realm": name, "enabled": True, **more})

    def administer(self, method: str, path: str, json=None):
        return self.keycloak.administer(method, f"/{self.name}{path}", json)

    def add_user(self, username: str, first: str, last: str, domain: str) -> None:
        user = {
            "username": username,
            "enabled": True,
            "email": f"{username}@{domain}",
            "emailVerified": True,
            "firstName": first,
            "lastName": last,
            "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
        }
        self.administer("POST", "/users", user)

    def user_id(self, username: str) -> str:
        return self.administer("GET", f"/users?exact=true&username={username}")[0]["id"]


class Company(_Realm):
    """Whose people the gateway knows, and the agents that work for them."""

    def __init__(self, keycloak: Keycloak):
        agents = [
            {
                "clientId": client_id,
                "publicClient": True,
                "standardFlowEnabled": False,
                "directAccessGrantsEnabled": True,
                "protocolMappers": [_audience("obo-gateway")],
            }
            for client_id in (PLANNER, ASSISTANT, LONG_AGENT)
        ]
        super().__init__(keycloak, "company", displayName="Contoso (company sign-in)", clients=agents)
        self._people = 0

    def admit(self, client_id: str, redirect: str) -> None:
        """A gateway at whose pages its people may sign in."""
        attributes = {"pkce.code.challenge.method": "S256"}
        self.administer("POST", "/clients", _client(client_id, redirect, attributes=attributes))

    def hire(self, name: str) -> Person:
        self._people += 1
        first, last = name.split(" ", 1)
        person = Person(f"{first.lower()}.{self._people}", name)
        self.add_user(person.username, first, last, "contoso.test")
        return person

    def token(self, person: Person, agent: str) -> str:
        """The person's access token, as that agent gets it."""
        form = {"grant_type": "password", "client_id": agent, "username": person.username, "password": PASSWORD}
        endpoint = f"{self.issuer}/protocol/openid-connect/token"
        answer = self.keycloak.session.post(endpoint, data=form, timeout=60)
        assert answer.ok, answer.text
        return answer.json()["access_token"]

    def sign_in(self, visitor, person: Person) -> None:
        keycloak_sign_in(visitor, person.username)


class Crm(_Realm):
    """A service with accounts of its own. It rotates refresh tokens, and takes one that comes twice for a stolen one."""

    connector = "crm"
    # Where a connection's tokens are soon over; a token is renewed when a quarter of its life is left.
    brief_connector = "diary"
    token_seconds = 6

    def __init__(self, keycloak: Keycloak, callback: str):
        pkce = {"pkce.code.challenge.method": "S256"}
        brief = {**pkce, "access.token.lifespan": str(self.token_seconds)}
        mappers = {"protocolMappers": [_audience("crm-api")]}
        # Each connector has an address of its own.
        own = [f"{callback}/{connector}" for connector in (self.connector, LONG_CONNECTOR)]
        super().__init__(
            keycloak,
            "crm",
            displayName="Acme CRM",
            revokeRefreshToken=True,
            refreshTokenMaxReuse=0,
            eventsEnabled=True,
            enabledEventTypes=["REFRESH_TOKEN", "REFRESH_TOKEN_ERROR", "REVOKE_GRANT"],
            clients=[
                _client("obo-gateway", *own, attributes=pkce, **mappers),
                _client("obo-gateway-brief", f"{callback}/{self.brief_connector}", attributes=brief, **mappers),
            ],
        )
        self.tokens = KeySet(f"{self.issuer}/protocol/openid-connect/certs")

    def connections(self, client_auth: dict) -> dict:
        """What the configuration says of its connectors."""
        own = {
            "issuer": self.issuer,
            "client_id": "obo-gateway",
            "client_auth": client_auth,
            "scopes": ["openid", "email", "offline_access"],
        }
        return {
            self.connector: own,
            self.brief_connector: {**own, "client_id": "obo-gateway-brief"},
            LONG_CONNECTOR: own,
            # A service whose authorization server is away.
            "attic": {**own, "issuer": f"http://127.0.0.1:{free_port()}"},
        }

    def enrol(self, person: Person) -> None:
        first, last = person.name.split(" ", 1)
        self.add_user(f"{person.username}.at.crm", first, last, "crm.test")

    def account(self, person: Person) -> str:
        return f"{person.username}.at.crm@crm.test"

    def sign_in(self, visitor, person: Person) -> None:
        keycloak_sign_in(visitor, f"{person.username}.at.crm")

    def withdraw(self, person: Person) -> None:
        """Takes back all that a person granted there, as they can in their account."""
        user = self.user_id(f"{person.username}.at.crm")
        self.administer("DELETE", f"/users/{user}/consents/obo-gateway-brief")

    def sessions(self, person: Person) -> list:
        """The sessions that a person's refresh tokens belong to."""
        user = self.user_id(f"{person.username}.at.crm")
        clients = self.administer("GET", "/clients?clientId=obo-gateway")
        return self.administer("GET", f"/users/{user}/offline-sessions/{clients[0]['id']}")

    def refreshes(self, person: Person) -> list:
        """How each refresh of a person's tokens ended, newest first."""
        user = self.user_id(f"{person.username}.at.crm")
        kinds = "type=REFRESH_TOKEN&type=REFRESH_TOKEN_ERROR"
        return [event["type"] for event in self.administer("GET", f"/events?{kinds}&user={user}&max=500")]


class PeopleBed:
    """A gateway, served over TLS as browsers meet it, between a company and a service.

    `service` makes the service, of the address under which the gateway takes the answers for each connector.
    """

    def __init__(self, company: Company, name: str, folder: Path, service):
        folder.mkdir(parents=True)
        self.company = company
        self.origin = f"https://127.0.0.1:{free_port()}"
        self.account = f"{self.origin}/account"
        self.service = service(f"{self.account}/callback")
        company.admit(name, f"{self.account}/signed-in")
        secret = folder / "client-secret"
        secret.touch(mode=0o600)
        secret.write_text(GATEWAY_SECRET)
        key = folder / "vault.key"
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
        private_key, certificate, self.authority = for_loopback(folder)
        self.api = Connector("crm-api", self.service.issuer, self.service.tokens)
        client_auth = {"secret_file": str(secret), "method": "basic"}
        self.gateway = Gateway(
            folder,
            {
                "contoso": {
                    "kind": "oidc",
                    "issuer": company.issuer,
                    "audiences": ["obo-gateway"],
                    "sign_in": {"client_id": name, "client_auth": client_auth},
                },
                # Whoever opens the pages without a link picks who they are.
                "partners": {
                    "kind": "oidc",
                    "issuer": f"{company.keycloak.origin}/realms/master",
                    "audiences": ["obo-gateway"],
                    "sign_in": {"client_id": name, "client_auth": client_auth},
                },
            },
            {
                connector: {
                    "kind": "rest",
                    "issuer": "contoso",
                    "path": f"/{connector}",
                    "upstream": self.api.origin,
                    "identity": "connection",
                    "connection": connection,
                    "tools": {
                        "list_contacts": {"match": "GET /contacts"},
                        "read_contact": {"match": "GET /contacts/{id}"},
                        "add_contact": {"match": "POST /contacts", "confirm": True},
                        "read_the_history_of_all_conversations_with_a_contact": {"match": "GET /contacts/{id}/history"},
                    },
                }
                for connector, connection in self.service.connections(client_auth).items()
            },
            origin=self.origin,
            listen=self.origin.removeprefix("https://"),
            public_url=self.origin,
            pages={},
            tls={"certificate": str(certificate), "key": str(private_key)},
            vault={"file": str(folder / "vault.db"), "keys": [{"id": "test", "file": str(key)}]},
        )

    def hire(self, name: str) -> Person:
        """Somebody whom nobody has met: their connections are no other test's."""
        person = self.company.hire(name)
        self.service.enrol(person)
        return person

    def token(self, person: Person, agent: str = PLANNER) -> str:
        return self.company.token(person, agent)

    def call(self, token: str, connector: str | None = None, path: str = "/contacts", session=None):
        """A tool call of an agent, with the person's token."""
        connector = connector or self.service.connector
        return self.gateway.call(f"/{connector}{path}", token, session=session, verify=str(self.authority))

    def link(self, token: str, connector: str | None = None, path: str = "/contacts") -> str:
        """What the agent gets that calls without a connection."""
        answer = self.call(token, connector, path)
        assert answer.status_code == 401, (answer.status_code, answer.text)
        problem = answer.json()
        assert problem["code"] == "connection_required", problem
        assert problem["connect_url"].startswith(f"{self.account}/connect/"), problem
        return problem["connect_url"]

    def add(self, token: str, contact: dict):
        """A tool call that its person has to agree to."""
        path = f"/{self.service.connector}/contacts"
        return self.gateway.call(path, token, "POST", json=contact, verify=str(self.authority))

    def question(self, token: str, contact: dict) -> str:
        """What the agent gets that makes such a call before its person has agreed."""
        answer = self.add(token, contact)
        assert answer.status_code == 428, (answer.status_code, answer.text)
        problem = answer.json()
        assert problem["code"] == "confirmation_required", problem
        assert problem["confirm_url"].startswith(f"{self.account}/confirm/"), problem
        return problem["confirm_url"]

    def refuses(self, token: str, contact: dict) -> str:
        """Why such a call is not made any more."""
        answer = self.add(token, contact)
        assert answer.status_code == 403, (answer.status_code, answer.text)
        return answer.json()["code"]

    def serves(self, token: str, person: Person, connector: str | None = None) -> str:
        """Makes a call that has to work, with the person's own token at the service. Returns that token."""
        answer = self.call(token, connector)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        seen = self.api.seen[-1]
        assert seen.fault is None and seen.token != token, seen.fault
        named = seen.claims.get("email") or f"{seen.claims['sub']}@helpdesk.test"
        assert named == self.service.account(person), seen.claims
        return seen.token

    def serves_all_at_once(self, token: str, connector: str, count: int) -> list:
        """The statuses of so many calls of one person at once."""
        together = Barrier(count)

        def call(_):
            with requests.Session() as session:
                session.trust_env = False
                together.wait(60)
                return self.call(token, connector, session=session).status_code

        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(call, range(count)))

    def wait_for_rotation(self) -> None:
        """Until the token that the connector saw last is so old that the next call has it renewed."""
        due = self.api.seen[-1].claims["exp"] - self.service.token_seconds / 4
        # Lives are counted in whole seconds.
        time.sleep(max(0.0, due + 1.1 - time.time()))

    def events(self, connector: str, event: str) -> int:
        labels = f'{{connector="{connector}",event="{event}"}}'
        return int(self.gateway.metric(f"obo_gateway_connection_events_total{labels}"))

    def stop(self) -> None:
        self.gateway.stop()
        self.api.stop()
