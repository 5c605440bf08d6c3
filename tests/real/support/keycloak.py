"""Keycloak: the server, realms of the tests, and people who sign in to them."""

import html
import re
import time
import uuid
from pathlib import Path
from urllib.parse import urljoin

import requests

from .running import Running, free_port

ADMINISTRATOR = ("admin", uuid.uuid4().hex)
GATEWAY_SECRET = uuid.uuid4().hex
PASSWORD = uuid.uuid4().hex
# Where a person comes out who has agreed. Nobody is there.
CONSENTED = "http://127.0.0.1/consented"


class Keycloak:
    """A development server with its data in memory. Each test module has a realm of its own in it."""

    def __init__(self, home: Path, folder: Path):
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        self.session = requests.Session()
        self.session.trust_env = False
        self._token_until = 0.0
        command = [
            home / "bin/kc.sh",
            "start-dev",
            "--db=dev-mem",
            "--http-host=127.0.0.1",
            f"--http-port={port}",
            f"--http-management-port={free_port()}",
        ]
        environment = {
            "KC_BOOTSTRAP_ADMIN_USERNAME": ADMINISTRATOR[0],
            "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMINISTRATOR[1],
            "JAVA_OPTS_KC_HEAP": "-Xms128m -Xmx768m",
        }
        self._running = Running("Keycloak", command, folder / "keycloak.log", environment)
        self._running.ready_when(self._is_ready)

    def _is_ready(self) -> bool:
        try:
            return self.session.get(f"{self.origin}/realms/master", timeout=10).status_code == 200
        except requests.RequestException:
            return False

    def administer(self, method: str, path: str, json=None):
        """A call of the admin REST API."""
        headers = {"authorization": f"Bearer {self._administrators_token()}"}
        answer = self.session.request(
            method, f"{self.origin}/admin/realms{path}", headers=headers, json=json, timeout=60
        )
        assert answer.ok, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def _administrators_token(self) -> str:
        if time.monotonic() < self._token_until:
            return self._token
        form = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": ADMINISTRATOR[0],
            "password": ADMINISTRATOR[1],
        }
        token_endpoint = f"{self.origin}/realms/master/protocol/openid-connect/token"
        self._token = self.session.post(token_endpoint, data=form, timeout=60).json()["access_token"]
        # It lives a minute.
        self._token_until = time.monotonic() + 30
        return self._token

    def stop(self) -> None:
        self._running.stop()


class Realm:
    """Two people, agents, the gateway, and two connectors."""

    def __init__(self, keycloak: Keycloak, name: str):
        self.keycloak = keycloak
        self.name = name
        self.issuer = f"{keycloak.origin}/realms/{name}"
        self.jwks_uri = f"{self.issuer}/protocol/openid-connect/certs"
        keycloak.administer("POST", "", json=_realm(name))
        people = keycloak.administer("GET", f"/{name}/users")
        self.people = {person["username"]: person["id"] for person in people}

    def administer(self, method: str, path: str, json=None):
        return self.keycloak.administer(method, f"/{self.name}{path}", json)

    def sign_in(self, person: str, agent: str = "agent") -> str:
        """The person's access token, as that agent gets it."""
        form = {"grant_type": "password", "client_id": agent, "username": person, "password": PASSWORD}
        answer = self.keycloak.session.post(
            f"{self.issuer}/protocol/openid-connect/token", data=form, timeout=60
        )
        assert answer.ok, answer.text
        return answer.json()["access_token"]

    def open_and_agree(self, link: str, person: str) -> None:
        """What a person does with a consent link in a browser: sign in, and agree."""
        with requests.Session() as browser:
            browser.trust_env = False
            page = _follow(browser, "GET", link)
            page = _submit(browser, page, {"username": person, "password": PASSWORD})
            page = _submit(browser, page, {"accept": "Yes"})
            assert page.status_code == 302, page.text
            assert page.headers["location"].startswith(f"{CONSENTED}?"), page.headers["location"]

    def sign_out(self, person: str) -> None:
        """An administrator ends all sessions of a person."""
        self.administer("POST", f"/users/{self.people[person]}/logout")

    def register_certificate(self, client_id: str, certificate: Path) -> None:
        """A client that exchanges tokens and proves itself by assertions signed with the key of this certificate."""
        pem = certificate.read_text().splitlines()
        attributes = {"standard.token.exchange.enabled": "true", "jwt.credential.certificate": "".join(pem[1:-1])}
        client = _exchanger(client_id, clientAuthenticatorType="client-jwt", attributes=attributes)
        self.administer("POST", "/clients", json=client)

    def signing_keys(self) -> list:
        """The components that hold its signing keys."""
        components = self.administer("GET", "/components?type=org.keycloak.keys.KeyProvider")
        return [component for component in components if component["providerId"] == "rsa-generated"]

    def sign_with_a_new_key(self, priority: int) -> None:
        realm_id = self.administer("GET", "")["id"]
        component = {
            "name": f"key of priority {priority}",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm_id,
            "config": {"priority": [str(priority)], "keySize": ["2048"], "algorithm": ["RS256"]},
        }
        self.administer("POST", "/components", json=component)

    def drop_key(self, component: dict) -> None:
        self.administer("DELETE", f"/components/{component['id']}")


def _follow(browser: requests.Session, method: str, url: str, **more) -> requests.Response:
    """Opens a page of Keycloak's, or gets to where Keycloak sends the browser away to."""
    answer = browser.request(method, url, timeout=60, allow_redirects=False, **more)
    for cookie in browser.cookies:
        # Browsers trust loopback as they trust https; `requests` does not.
        cookie.secure = False
    if answer.status_code == 302 and not answer.headers["location"].startswith(CONSENTED):
        return _follow(browser, "GET", answer.headers["location"])
    return answer


def _submit(browser: requests.Session, page: requests.Response, fields: dict) -> requests.Response:
    """Fills in the form of a page."""
    assert page.status_code == 200, page.text
    form = re.search(r'<form[^>]* action="([^"]+)"', page.text)
    assert form, page.text
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]+)"', page.text)
    action = urljoin(page.url, html.unescape(form[1]))
    return _follow(browser, "POST", action, data={**dict(hidden), **fields})


def _audience_mapper(audience: str) -> dict:
    return {
        "name": f"audience {audience}",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {
            "included.client.audience": audience,
            "access.token.claim": "true",
            "introspection.token.claim": "true",
        },
    }


def _scope(name: str, mapper: dict, shown: bool = True) -> dict:
    attributes = {"include.in.token.scope": str(shown).lower(), "display.on.consent.screen": "true"}
    return {"name": name, "protocol": "openid-connect", "attributes": attributes, "protocolMappers": [mapper]}


def _agent(client_id: str, scopes: list, **attributes) -> dict:
    """A public client. It signs people in by password, which spares these tests a browser."""
    return {
        "clientId": client_id,
        "publicClient": True,
        "standardFlowEnabled": False,
        "directAccessGrantsEnabled": True,
        "defaultClientScopes": scopes,
        "optionalClientScopes": [],
        "attributes": attributes,
    }


def _exchanger(client_id: str, **more) -> dict:
    """A client that may exchange tokens."""
    return {
        "clientId": client_id,
        "secret": GATEWAY_SECRET,
        "standardFlowEnabled": True,
        "redirectUris": [CONSENTED],
        "attributes": {"standard.token.exchange.enabled": "true"},
        "defaultClientScopes": ["basic"],
        "optionalClientScopes": ["mail.read", "calendar.read"],
        **more,
    }


def _realm(name: str) -> dict:
    # Since Keycloak 25 `sub` is a mapper's work, and a realm that names its client scopes has no others.
    sub = {
        "name": "sub",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-sub-mapper",
        "config": {"access.token.claim": "true", "introspection.token.claim": "true"},
    }
    person = lambda username, first, last: {  # noqa: E731
        "username": username,
        "enabled": True,
        "email": f"{username}@example.test",
        "emailVerified": True,
        "firstName": first,
        "lastName": last,
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }
    connector = lambda client_id: {  # noqa: E731
        "clientId": client_id,
        "secret": uuid.uuid4().hex,
        "standardFlowEnabled": False,
    }
    return {
        "realm": name,
        "enabled": True,
        "accessTokenLifespan": 300,
        "clientScopes": [
            _scope("basic", sub, shown=False),
            _scope("to-gateway", _audience_mapper("obo-gateway")),
            _scope("to-consent-gateway", _audience_mapper("consent-gateway")),
            _scope("to-signing-gateway", _audience_mapper("signing-gateway")),
            _scope("mail.read", _audience_mapper("mail-connector")),
            _scope("calendar.read", _audience_mapper("calendar-connector")),
        ],
        "clients": [
            _agent("agent", ["basic", "to-gateway", "to-consent-gateway", "to-signing-gateway"]),
            _agent("unmapped-agent", ["basic", "mail.read"]),
            _agent("hasty-agent", ["basic", "to-gateway"], **{"access.token.lifespan": "1"}),
            _exchanger("obo-gateway"),
            _exchanger("consent-gateway", consentRequired=True),
            _exchanger("shared-work", serviceAccountsEnabled=True),
            connector("mail-connector"),
            connector("calendar-connector"),
        ],
        "users": [person("ada", "Ada", "Lovelace"), person("bob", "Bob", "Byrne")],
    }
