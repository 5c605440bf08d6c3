"""Microsoft's own client, MSAL for Python: it gets along with the development authorization server, and the gateway asks
as it does."""

import hashlib
import json
import ssl
from pathlib import Path

import jwt
import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from support.connector import KeySet
from support.gateway import Gateway

# What MSAL sends and the gateway does not, and why.
ONLY_MSAL = {
    "client_info": "asks for the home account, a name in MSAL's own cache; the gateway keys by `oid` and `tid`",
}
# Scopes that MSAL adds by itself, and the gateway does not ask for.
ONLY_MSAL_SCOPES = {
    "openid": "an ID token, which is of no use to the gateway",
    "profile": "claims of that ID token",
    "offline_access": "a refresh token, which the gateway does not want to keep",
}
# Header fields that MSAL sends and the gateway does not.
ONLY_MSAL_HEADERS = {
    "client-request-id": "MSAL names its request; the gateway takes down the name that the server gives to it",
    "x-client-current-telemetry": "telemetry of MSAL for Microsoft",
    "x-client-last-telemetry": "telemetry of MSAL for Microsoft",
    "x-client-cpu": "telemetry of MSAL for Microsoft",
    "x-client-os": "telemetry of MSAL for Microsoft",
    "x-client-sku": "telemetry of MSAL for Microsoft",
    "x-client-ver": "telemetry of MSAL for Microsoft",
    "x-ms-lib-capability": "what MSAL does about throttling; the gateway obeys it without saying so",
    "x-anchormailbox": "a hint for routing within Microsoft's service, not needed for an answer",
    "accept-encoding": "of the HTTP library; the gateway does not read compressed answers here",
    "connection": "of the HTTP library",
    "user-agent": "of the HTTP library",
}
# And the other way round: none.
ONLY_GATEWAY: dict = {}

SCOPE = "Mail.Read"


@pytest.fixture
def server(development_server):
    return development_server


def certificate_of(server) -> dict:
    """What MSAL wants for a certificate: it takes SHA-256 and PS256 then, as it does since 1.35."""
    told = server.told
    return {"private_key": Path(told["key"]).read_text(), "public_certificate": Path(told["certificate"]).read_text()}


def thumbprint_of(server) -> dict:
    """The older way: SHA-1 and RS256."""
    der = ssl.PEM_cert_to_DER_cert(Path(server.told["certificate"]).read_text())
    return {"private_key": Path(server.told["key"]).read_text(), "thumbprint": hashlib.sha1(der).hexdigest()}


def ask_by_msal(server, credential, person, scope=SCOPE, **more) -> dict:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = server.told["trust"]
        application = msal.ConfidentialClientApplication(
            server.told["client_id"],
            client_credential=credential,
            authority=server.told["authority"],
            instance_discovery=False,
            http_client=session,
            **more,
        )
        token = server.people[person]["token"]
        return application.acquire_token_on_behalf_of(token, [f"{server.told['mail_audience']}/{scope}"])


def ask_by_gateway(server, client_auth, person, folder, **exchange) -> None:
    gateway = Gateway(folder, {"entra": server.issuer(client_auth, **exchange)}, {"mail": server.mail()})
    try:
        answer = gateway.call("/mail/me/messages", server.people[person]["token"])
        assert answer.status_code == 200, answer.text
    finally:
        gateway.stop()


def secret_file(server, folder) -> dict:
    file = folder / "client-secret"
    file.write_text(server.told["client_secret"])
    return {"secret_file": str(file)}


def certificate_files(server) -> dict:
    return {"certificate": server.told["certificate"], "key": server.told["key"]}


@pytest.mark.parametrize("credential", ["secret", "certificate", "thumbprint"])
def test_msal_gets_tokens_on_behalf_of_each_person(server, credential):
    credential = {
        "secret": lambda: server.told["client_secret"],
        "certificate": lambda: certificate_of(server),
        "thumbprint": lambda: thumbprint_of(server),
    }[credential]()
    key_set = KeySet(f"{server.told['authority']}/discovery/v2.0/keys", verify=server.told["trust"])
    for person in ("ada", "bob"):
        answer = ask_by_msal(server, credential, person)
        assert "error" not in answer, answer
        assert answer["token_type"] == "Bearer"
        assert answer["expires_in"] > 0
        claims = key_set.claims(answer["access_token"], server.told["issuer"], server.told["mail_audience"])
        assert claims["oid"] == server.people[person]["oid"]
        assert SCOPE in claims["scp"].split()


def test_msal_understands_that_consent_is_missing(server):
    answer = ask_by_msal(server, server.told["client_secret"], "ada", scope="Mail.Send")
    assert answer["error"] == "invalid_grant"
    assert answer["suberror"] == "consent_required"
    assert answer["error_codes"] == [65001]
    assert answer["error_description"].startswith("AADSTS65001")
    assert answer["correlation_id"] and answer["trace_id"] and answer["timestamp"]


def test_msal_understands_that_its_secret_is_wrong(server):
    answer = ask_by_msal(server, "another secret", "ada")
    assert (answer["error"], answer["error_codes"]) == ("invalid_client", [7000215])


def as_received(exchange) -> tuple:
    """A request of the record: its parameters, of which each is there once, and its header."""
    names = [name for name, _ in exchange["form"]]
    assert len(names) == len(set(names)), names
    assert exchange["status"] == 200
    return dict(exchange["form"]), exchange["headers"]


def both_requests(server, msal_asks, gateway_asks) -> list:
    before = len(server.exchanges())
    answer = msal_asks()
    assert "error" not in answer, answer
    gateway_asks()
    exchanges = server.exchanges()[before:]
    assert len(exchanges) == 2
    return [as_received(exchange) for exchange in exchanges]


def assert_same_parameters(by_msal: dict, by_gateway: dict, *compared_apart: str) -> None:
    """Every parameter is the same, but for what is listed above or compared by the caller."""
    assert set(by_msal) - set(by_gateway) == set(ONLY_MSAL)
    assert set(by_gateway) - set(by_msal) == set(ONLY_GATEWAY)
    scopes_of_msal, scopes_of_gateway = set(by_msal["scope"].split()), set(by_gateway["scope"].split())
    assert scopes_of_msal - scopes_of_gateway == set(ONLY_MSAL_SCOPES)
    assert scopes_of_gateway - scopes_of_msal == set()
    for name in set(by_gateway) - {"scope", *compared_apart}:
        assert by_gateway[name] == by_msal[name], name


def assert_same_headers(by_msal: dict, by_gateway: dict) -> None:
    assert set(by_msal) - set(by_gateway) <= set(ONLY_MSAL_HEADERS)
    assert set(by_gateway) <= set(by_msal) | {"content-length", "host"}
    assert by_gateway["content-type"] == by_msal["content-type"] == "application/x-www-form-urlencoded"
    # Both want JSON, or do not say otherwise.
    for headers in (by_msal, by_gateway):
        assert headers.get("accept", "*/*") in ("*/*", "application/json")
    assert "authorization" not in by_msal and "authorization" not in by_gateway


def test_with_a_secret_the_gateway_asks_as_msal_does(server, tmp_path):
    (form_of_msal, header_of_msal), (form_of_gateway, header_of_gateway) = both_requests(
        server,
        lambda: ask_by_msal(server, server.told["client_secret"], "ada"),
        lambda: ask_by_gateway(server, secret_file(server, tmp_path), "ada", tmp_path),
    )
    assert_same_parameters(form_of_msal, form_of_gateway)
    assert_same_headers(header_of_msal, header_of_gateway)
    assert form_of_gateway["assertion"] == server.people["ada"]["token"]


def test_with_capabilities_the_gateway_asks_as_msal_does(server, tmp_path):
    (form_of_msal, _), (form_of_gateway, _) = both_requests(
        server,
        lambda: ask_by_msal(server, server.told["client_secret"], "ada", client_capabilities=["cp1"]),
        lambda: ask_by_gateway(
            server, secret_file(server, tmp_path), "ada", tmp_path, client_capabilities=["cp1"]
        ),
    )
    assert json.loads(form_of_gateway["claims"]) == json.loads(form_of_msal["claims"])
    assert_same_parameters(form_of_msal, form_of_gateway, "claims")


# What MSAL says in a client assertion and the gateway does not, and the other way round.
ONLY_MSAL_CLAIMS: dict = {}
# MSAL says it with every certificate. It is for registrations by subject name and issuer; the gateway says it when told.
ONLY_MSAL_HEADER_UNLESS_TOLD = "x5c"
ONLY_GATEWAY_CLAIMS = {"nbf": "the same as `iat`: Entra's documentation of the assertion asks for it"}


def header_without_misspellings(assertion: str) -> dict:
    header = jwt.get_unverified_header(assertion)
    for name in ("x5t#S256", "x5t"):
        # MSAL pads it. RFC 7515 section 2 has base64url without padding, and so has the gateway.
        if name in header:
            header[name] = header[name].rstrip("=")
    if "x5c" in header:
        # MSAL leaves the line breaks of PEM in it. RFC 7515 section 4.1.6 has none, and neither has the gateway.
        header["x5c"] = [certificate.replace("\n", "") for certificate in header["x5c"]]
    return header


def assert_same_client_assertions(server, by_msal: str, by_gateway: str, told_x5c: bool) -> None:
    header_of_msal = header_without_misspellings(by_msal)
    header_of_gateway = jwt.get_unverified_header(by_gateway)
    if not told_x5c:
        header_of_msal.pop(ONLY_MSAL_HEADER_UNLESS_TOLD, None)
    # Algorithm, type, and the name of the key: nothing more, nothing less.
    assert header_of_gateway == header_of_msal
    certificate = x509.load_pem_x509_certificate(Path(server.told["certificate"]).read_bytes())
    key = certificate.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    of_msal, of_gateway = (
        jwt.decode(assertion, key, algorithms=["PS256", "RS256"], audience=server.told["token_endpoint"])
        for assertion in (by_msal, by_gateway)
    )
    assert set(of_msal) - set(of_gateway) == set(ONLY_MSAL_CLAIMS)
    assert set(of_gateway) - set(of_msal) == set(ONLY_GATEWAY_CLAIMS)
    assert of_gateway["nbf"] == of_gateway["iat"]
    for name in ("aud", "iss", "sub"):
        assert of_gateway[name] == of_msal[name], name
    # MSAL writes fractions of a second. Entra's documentation has whole numbers, and so has the gateway.
    assert all(type(of_gateway[name]) is int for name in ("iat", "nbf", "exp"))
    # MSAL's lives for ten minutes, since it is used again. The gateway makes one for each request.
    assert round(of_msal["exp"] - of_msal["iat"]) == 600
    assert 60 <= of_gateway["exp"] - of_gateway["iat"] < 600
    assert abs(of_gateway["iat"] - of_msal["iat"]) < 60
    # Unique; MSAL writes a UUID, the gateway as many random bits in base64url.
    assert of_gateway["jti"] != of_msal["jti"]
    assert len(of_gateway["jti"]) == 22 and len(of_msal["jti"]) == 36


@pytest.mark.parametrize(
    ("credential_of", "settings"),
    [
        pytest.param(certificate_of, {}, id="as it comes"),
        pytest.param(certificate_of, {"name_key_by": ["x5t_s256", "x5c"]}, id="with the certificate itself"),
        pytest.param(thumbprint_of, {"algorithm": "rs256", "name_key_by": ["x5t"]}, id="in the older way"),
    ],
)
def test_with_a_certificate_the_gateway_asks_as_msal_does(server, tmp_path, credential_of, settings):
    (form_of_msal, header_of_msal), (form_of_gateway, header_of_gateway) = both_requests(
        server,
        lambda: ask_by_msal(server, credential_of(server), "bob"),
        lambda: ask_by_gateway(server, {**certificate_files(server), **settings}, "bob", tmp_path),
    )
    assert_same_parameters(form_of_msal, form_of_gateway, "client_assertion")
    assert_same_headers(header_of_msal, header_of_gateway)
    assert_same_client_assertions(
        server,
        form_of_msal["client_assertion"],
        form_of_gateway["client_assertion"],
        told_x5c="x5c" in settings.get("name_key_by", []),
    )
    assert "client_secret" not in form_of_gateway
