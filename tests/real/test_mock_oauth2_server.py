"""navikt's mock-oauth2-server: a second implementation of on-behalf-of and of token exchange."""

import pytest
from support.bed import rest_connector
from support.certificates import self_signed
from support.connector import Connector, KeySet
from support.gateway import Gateway, refusal
from support.mock_oauth2_server import OBJECT_IDS, TENANT, MockOAuth2Server
from support.parts import part


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = MockOAuth2Server(part("mock-oauth2-server"), tmp_path_factory.mktemp("mock-oauth2-server"))
    yield server
    server.stop()


class Bed:
    """A gateway between an issuer of the server and a connector that checks what it gets."""

    def __init__(self, server, folder, issuer, audience, scopes, exchange, **entry):
        self.server, self.issuer = server, issuer
        secret = folder / "client-secret"
        secret.write_text("any will do")
        entry = {
            "kind": "oidc",
            "issuer": server.issuer(issuer),
            "audiences": ["obo-gateway", "api://obo-gateway"],
            "exchange": {
                "client_id": "obo-gateway",
                "client_auth": {"secret_file": str(secret)},
                **exchange,
            },
            **entry,
        }
        self.connector = Connector(audience, server.issuer(issuer), KeySet(f"{server.issuer(issuer)}/jwks"))
        connectors = {"mail": rest_connector("/mail", self.connector, audience, scopes)}
        self.gateway = Gateway(folder, {"navikt": entry}, connectors)

    def call_as(self, person):
        return self.gateway.call("/mail/messages", self.server.sign_in(self.issuer, person))

    def stop(self):
        self.gateway.stop()
        self.connector.stop()


@pytest.fixture
def beds(server, tmp_path):
    made = []

    def make(*arguments, **more):
        made.append(Bed(server, tmp_path, *arguments, **more))
        return made[-1]

    yield make
    for bed in made:
        bed.stop()


def assert_each_is_seen_as_themselves(bed, claim, people):
    for person, identifier in people.items():
        for _ in range(2):
            answer = bed.call_as(person)
            assert answer.status_code == 200, answer.text
            assert bed.connector.seen[-1].claims[claim] == identifier
    assert [seen.fault for seen in bed.connector.seen] == [None] * 4
    # One for each person; the other calls are answered from the cache.
    assert bed.gateway.exchanges("navikt") == 2


def test_its_token_exchange_gives_each_person_their_own_token(beds):
    exchange = {"grant": "token_exchange", "target": "audience"}
    bed = beds("staff", "mail-connector", ["mail.read"], exchange)
    assert_each_is_seen_as_themselves(bed, "sub", {"ada": "ada", "bob": "bob"})


def test_its_jwt_bearer_grant_gives_each_person_their_own_token(beds):
    # It makes the scope the audience.
    exchange = {"grant": "jwt_bearer", "target": "scope"}
    bed = beds("staff", "mail-connector", ["mail-connector"], exchange)
    assert_each_is_seen_as_themselves(bed, "sub", {"ada": "ada", "bob": "bob"})


def test_its_on_behalf_of_gives_each_person_their_own_token(beds):
    bed = beds(TENANT, "api://mail", ["Mail.Read"], {"grant": "on_behalf_of"}, kind="entra", tenant=TENANT)
    assert_each_is_seen_as_themselves(bed, "oid", OBJECT_IDS)


@pytest.mark.parametrize("audience", ["confused-connector", "treacherous-connector"])
def test_a_token_for_somebody_else_is_never_used(beds, audience):
    # One is for another audience, the other speaks for Bob.
    bed = beds("staff", audience, ["mail.read"], {"grant": "token_exchange", "target": "audience"})
    assert refusal(bed.call_as("ada")) == (502, "issuer_answer_invalid")
    assert bed.connector.seen == []
    assert bed.gateway.exchanges("navikt", "unusable_answer") == 1


def test_the_gateway_proves_itself_to_it_by_a_signed_assertion(beds, tmp_path):
    key, certificate = self_signed("obo-gateway", tmp_path)
    client_auth = {"key": str(key), "certificate": str(certificate)}
    exchange = {"grant": "token_exchange", "target": "audience", "client_auth": client_auth}
    bed = beds("staff", "mail-connector", ["mail.read"], exchange)
    assert_each_is_seen_as_themselves(bed, "sub", {"ada": "ada", "bob": "bob"})
