"""Two Keycloak realms: a company, whose people the gateway knows, and a service with accounts of its own."""

from pathlib import Path

from .certificates import self_signed
from .connector import Connector, KeySet
from .gateway import Gateway
from .keycloak import GATEWAY_SECRET, PASSWORD, Keycloak
from .running import free_port

CRM_SCOPES = ["openid", "email", "offline_access"]


def _person(username: str, first: str, last: str, domain: str) -> dict:
    return {
        "username": username,
        "enabled": True,
        "email": f"{username}@{domain}",
        "emailVerified": True,
        "firstName": first,
        "lastName": last,
        # Without it nobody grants access for when they are away.
        "realmRoles": ["offline_access"],
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }


def _audience(audience: str) -> dict:
    return {
        "name": f"audience {audience}",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": audience, "access.token.claim": "true"},
    }


def _gateways_client(redirect: str, **more) -> dict:
    return {
        "clientId": "obo-gateway",
        "secret": GATEWAY_SECRET,
        "standardFlowEnabled": True,
        "redirectUris": [redirect],
        "attributes": {"pkce.code.challenge.method": "S256"},
        **more,
    }


def _agent(client_id: str) -> dict:
    return {
        "clientId": client_id,
        "publicClient": True,
        "standardFlowEnabled": False,
        "directAccessGrantsEnabled": True,
        "protocolMappers": [_audience("obo-gateway")],
    }


class PeopleBed:
    """A gateway, served over TLS as browsers meet it, between a company and a service with accounts of its own."""

    def __init__(self, keycloak: Keycloak, folder: Path):
        self.keycloak = keycloak
        folder.mkdir(parents=True, exist_ok=True)
        self.origin = f"https://127.0.0.1:{free_port()}"
        self.account = f"{self.origin}/account"
        name = folder.name
        self.company, self.service = f"company-{name}", f"crm-{name}"
        keycloak.administer(
            "POST",
            "",
            json={
                "realm": self.company,
                "displayName": "Contoso (company sign-in)",
                "enabled": True,
                "clients": [
                    _gateways_client(f"{self.account}/signed-in"),
                    _agent("travel-planner"),
                    _agent("sales-assistant"),
                ],
                "users": [
                    _person("ada", "Ada", "Lovelace", "contoso.test"),
                    _person("bob", "Bob", "Byrne", "contoso.test"),
                ],
            },
        )
        keycloak.administer(
            "POST",
            "",
            json={
                "realm": self.service,
                "displayName": "Acme CRM",
                "enabled": True,
                "revokeRefreshToken": True,
                "refreshTokenMaxReuse": 0,
                "accessTokenLifespan": 300,
                "clients": [
                    _gateways_client(f"{self.account}/callback", protocolMappers=[_audience("crm-api")]),
                ],
                "users": [_person("ada.at.crm", "Ada", "L.", "crm.test")],
            },
        )
        secret = folder / "client-secret"
        secret.write_text(GATEWAY_SECRET)
        key = folder / "vault.key"
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
        private_key, certificate = self_signed("gateway", folder)
        crm_issuer = f"{keycloak.origin}/realms/{self.service}"
        self.crm = Connector("crm-api", crm_issuer, KeySet(f"{crm_issuer}/protocol/openid-connect/certs"))
        client_auth = {"secret_file": str(secret), "method": "basic"}
        self.gateway = Gateway(
            folder,
            {
                "contoso": {
                    "kind": "oidc",
                    "issuer": f"{keycloak.origin}/realms/{self.company}",
                    "audiences": ["obo-gateway"],
                    "sign_in": {"client_id": "obo-gateway", "client_auth": client_auth},
                }
            },
            {
                "crm": {
                    "kind": "rest",
                    "path": "/crm",
                    "upstream": self.crm.origin,
                    "identity": "connection",
                    "connection": {
                        "issuer": crm_issuer,
                        "client_id": "obo-gateway",
                        "client_auth": client_auth,
                        "scopes": CRM_SCOPES,
                    },
                    "tools": {
                        "list_contacts": {"match": "GET /contacts"},
                        "read_contact": {"match": "GET /contacts/{id}"},
                    },
                }
            },
            origin=self.origin,
            listen=self.origin.removeprefix("https://"),
            public_url=self.origin,
            pages={},
            tls={"certificate": str(certificate), "key": str(private_key)},
            vault={"file": str(folder / "vault.db"), "keys": [{"id": "test", "file": str(key)}]},
        )

    def token(self, person: str, agent: str) -> str:
        """The person's access token, as that agent gets it."""
        form = {"grant_type": "password", "client_id": agent, "username": person, "password": PASSWORD}
        answer = self.keycloak.session.post(
            f"{self.keycloak.origin}/realms/{self.company}/protocol/openid-connect/token", data=form, timeout=60
        )
        assert answer.ok, answer.text
        return answer.json()["access_token"]

    def call(self, token: str, path: str = "/crm/contacts"):
        return self.gateway.call(path, token, verify=False)

    def link(self, token: str) -> str:
        """What the agent gets that calls without a connection."""
        answer = self.call(token)
        assert answer.status_code == 401, (answer.status_code, answer.text)
        problem = answer.json()
        assert problem["code"] == "connection_required", problem
        assert problem["connect_url"].startswith(f"{self.account}/connect/"), problem
        return problem["connect_url"]

    def stop(self) -> None:
        self.gateway.stop()
        self.crm.stop()
