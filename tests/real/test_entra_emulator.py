"""entra-emulator: Entra's on-behalf-of, and its errors, by a third party's code."""

import pytest
from support.bed import rest_connector
from support.connector import Connector, KeySet
from support.entra_emulator import AGENT, GATEWAY, GATEWAY_SECRET, GRAPH, PEOPLE, TENANT, EntraEmulator
from support.gateway import Gateway, refusal
from support.parts import part


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    emulator = EntraEmulator(part("entra-emulator"), tmp_path_factory.mktemp("entra-emulator"))
    yield emulator
    emulator.stop()


class Bed:
    def __init__(self, emulator, folder, secret=GATEWAY_SECRET, audience=GRAPH, audiences=(f"api://{GATEWAY}",)):
        secret_file = folder / "client-secret"
        secret_file.write_text(secret)
        entry = {
            "kind": "entra",
            "tenant": TENANT,
            "issuer": emulator.issuer,
            "audiences": list(audiences),
            "ca_file": str(emulator.trust),
            "exchange": {
                "grant": "on_behalf_of",
                "client_id": GATEWAY,
                "client_auth": {"secret_file": str(secret_file)},
            },
        }
        key_set = KeySet(emulator.jwks_uri, verify=str(emulator.trust))
        self.connector = Connector(GRAPH, emulator.issuer, key_set)
        self.gateway = Gateway(
            folder, {"entra": entry}, {"mail": rest_connector("/mail", self.connector, audience, ["Mail.Read"])}
        )

    def call(self, token):
        return self.gateway.call("/mail/me/messages", token)

    def stop(self):
        self.gateway.stop()
        self.connector.stop()


@pytest.fixture
def beds(emulator, tmp_path):
    made = []

    def make(**more):
        made.append(Bed(emulator, tmp_path, **more))
        return made[-1]

    yield make
    for bed in made:
        bed.stop()


def test_its_on_behalf_of_gives_each_person_their_own_token(emulator, beds):
    bed = beds()
    for person, identifier in PEOPLE.items():
        for _ in range(2):
            answer = bed.call(emulator.token(person))
            assert answer.status_code == 200, answer.text
            claims = bed.connector.seen[-1].claims
            assert (claims["oid"], claims["azp"], claims["scp"]) == (identifier, GATEWAY, "Mail.Read")
    assert [seen.fault for seen in bed.connector.seen] == [None] * 4
    assert bed.gateway.exchanges("entra") == 2


FORGED = [
    ({"tokenType": "id", "audience": f"api://{GATEWAY}"}, (401, "id_token_refused")),
    ({"audience": GRAPH}, (401, "audience_mismatch")),
    ({"expiresInSeconds": -300}, (401, "token_expired")),
    ({"notBeforeSeconds": 3600}, (401, "token_not_yet_valid")),
    ({"signature": "invalid"}, (401, "signature_invalid")),
    ({"person": None, "scopes": [], "roles": ["Tasks.Read.All"]}, (403, "person_required")),
    ({"extraClaims": {"tid": "00000000-0000-4000-8000-000000000000"}}, (401, "tenant_not_allowed")),
    ({"extraClaims": {"cnf": {"x5t#S256": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}}, (401, "token_bound")),
]


@pytest.mark.parametrize(("asked", "refused"), FORGED, ids=[code for _, (_, code) in FORGED])
def test_a_token_that_it_forges_is_refused_by_its_own_code(emulator, beds, asked, refused):
    bed = beds()
    asked = {"person": "alice", **asked}
    assert refusal(bed.call(emulator.token(**asked))) == refused
    assert bed.connector.seen == []
    assert bed.gateway.exchanges("entra") == 0


def test_a_wrong_secret_is_the_operators_to_mend(emulator, beds):
    bed = beds(secret="another secret")
    answer = bed.call(emulator.token("alice"))
    assert refusal(answer) == (500, "exchange_misconfigured")
    # The operators find AADSTS7000215 in the record, and the request in Entra's own by the correlation id.
    assert "7000215" in answer.json()["detail"]
    assert bed.gateway.records(1)[0]["metadata"]["correlation_uid"]


def test_a_scope_that_nobody_has_registered_is_the_operators_to_mend(emulator, beds):
    bed = beds(audience="api://nobody")
    answer = bed.call(emulator.token("alice"))
    assert refusal(answer) == (500, "exchange_misconfigured")
    assert "70011" in answer.json()["detail"]


def test_a_token_for_another_application_means_sign_in_again(emulator, beds):
    # The gateway takes what Entra does not take from it. The emulator says 500131 in the text, 70008 as the number.
    bed = beds(audiences=[f"api://{AGENT}"])
    token = emulator.token("alice", audience=f"api://{AGENT}")
    assert refusal(bed.call(token)) == (401, "sign_in_required")
    assert bed.connector.seen == []


def test_a_token_that_has_expired_at_the_emulator_means_sign_in_again(emulator, beds):
    bed = beds()
    token = emulator.token("alice")
    emulator.administer("POST", "/clock", json={"advanceSeconds": 7200})
    try:
        assert refusal(bed.call(token)) == (401, "sign_in_required")
        assert bed.connector.seen == []
    finally:
        emulator.administer("DELETE", "/clock")


def test_a_disabled_account_is_not_served(emulator, beds):
    bed = beds()
    path = f"/users/{PEOPLE['bob']}"
    emulator.administer("PATCH", path, json={"accountEnabled": False})
    try:
        # Entra's number for it is 50057, which blocks. The emulator has that in the text alone, which is not for
        # programs, and 70008 as the number.
        assert refusal(bed.call(emulator.token("bob"))) == (401, "sign_in_required")
        assert bed.connector.seen == []
    finally:
        emulator.administer("PATCH", path, json={"accountEnabled": True})
    assert bed.call(emulator.token("alice")).status_code == 200


ERRORS = [
    ("temporarily_unavailable", (503, "issuer_unavailable")),
    ("server_error", (503, "issuer_unavailable")),
    ("access_denied", (403, "access_blocked")),
    ("interaction_required", (403, "step_up_required")),
    ("consent_required", (403, "consent_required")),
    ("invalid_grant", (401, "sign_in_required")),
    ("unauthorized_client", (500, "exchange_misconfigured")),
    ("invalid_resource", (500, "exchange_misconfigured")),
]


@pytest.mark.parametrize(("error", "refused"), ERRORS, ids=[error for error, _ in ERRORS])
def test_an_error_of_its_token_endpoint_says_who_must_act(emulator, beds, error, refused):
    bed = beds()
    token = emulator.token("alice")
    emulator.administer("POST", "/faults", json={"tokenError": error, "tokenErrorDescription": "a fault"})
    try:
        answer = bed.call(token)
        assert refusal(answer) == refused
        assert ("retry-after" in answer.headers) == (refused[0] == 503)
        assert bed.connector.seen == []
    finally:
        emulator.administer("DELETE", "/faults")
