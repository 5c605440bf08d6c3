"""A gateway between a Keycloak realm and two connectors that check what they get."""

from pathlib import Path

from .connector import Connector, KeySet
from .gateway import Gateway
from .keycloak import GATEWAY_SECRET, Realm

MAIL_SCOPE = "mail.read"
CALENDAR_SCOPE = "calendar.read"


def rest_connector(path: str, connector: Connector, audience: str, scopes: list) -> dict:
    return {
        "kind": "rest",
        "path": path,
        "upstream": connector.origin,
        "audience": audience,
        "scopes": scopes,
        "timeouts": {"connect": "20s", "response": "20s", "idle": "20s"},
    }


class KeycloakBed:
    """`client_id` is whom Keycloak knows the gateway as; `exchange`, `calendar` and `issuer` are further keys of these
    entries."""

    def __init__(
        self, realm: Realm, folder: Path, client_id: str = "obo-gateway", exchange=None, calendar=None, **issuer
    ):
        self.realm = realm
        key_set = KeySet(realm.jwks_uri)
        self.mail = Connector("mail-connector", realm.issuer, key_set)
        self.calendar = Connector("calendar-connector", realm.issuer, key_set)
        secret = folder / "client-secret"
        folder.mkdir(parents=True, exist_ok=True)
        secret.write_text(GATEWAY_SECRET)
        staff = {
            "kind": "oidc",
            "issuer": realm.issuer,
            "audiences": [client_id],
            "exchange": {
                "grant": "token_exchange",
                "target": "audience",
                "client_id": client_id,
                "client_auth": {"secret_file": str(secret), "method": "basic"},
                **(exchange or {}),
            },
            **issuer,
        }
        connectors = {
            "mail": rest_connector("/mail", self.mail, "mail-connector", [MAIL_SCOPE]),
            "calendar": {
                **rest_connector("/calendar", self.calendar, "calendar-connector", [CALENDAR_SCOPE]),
                **(calendar or {}),
            },
        }
        self.gateway = Gateway(folder, {"staff": staff}, connectors)

    def stop(self) -> None:
        self.gateway.stop()
        self.mail.stop()
        self.calendar.stop()
