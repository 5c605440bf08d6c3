"""The official MCP SDKs, as clients that know nothing but an address: they find the authorization server, and come in."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from support.development_server import DevelopmentServer
from support.gateway import Gateway
from support.mcp_client import SdkClient
from support.running import free_port

# Where the client gets the person back: nobody has to listen there, since the test is the browser.
REDIRECT = "http://127.0.0.1:9/back"


class Bed:
    """A gateway whose connectors the authorization server knows by their addresses, as clients name them (RFC 8707)."""

    def __init__(self, servers: dict, folder):
        origin = f"http://127.0.0.1:{free_port()}"
        self.urls = {name: f"{origin}/{name}/mcp" for name in servers}
        self.development_server = DevelopmentServer(folder, *self.urls.values())
        names = [f"{name}/*" for name in servers]
        self.gateway = Gateway(
            folder,
            {"entra": self.development_server.issuer(self.development_server.secret(folder))},
            {name: self.development_server.mcp(name, server.url) for name, server in servers.items()},
            [{"name": "everybody", "tools": names, "prompts": names, "resources": names}],
            origin,
            public_url=origin,
        )

    def stop(self) -> None:
        self.gateway.stop()
        self.development_server.stop()


@pytest.fixture(scope="module")
def bed(legacy_server, modern_server, tmp_path_factory):
    servers = {"typescript-1": legacy_server, "typescript-2": modern_server}
    bed = Bed(servers, tmp_path_factory.mktemp("mcp-sign-in"))
    yield bed
    bed.stop()


def test_who_comes_without_a_token_is_told_where_to_get_one(bed):
    with requests.Session() as http:
        http.trust_env = False
        for url in bed.urls.values():
            refused = http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, timeout=30)
            assert refused.status_code == 401
            challenge = refused.headers["www-authenticate"]
            assert challenge.startswith("Bearer ")
            metadata = challenge.split('resource_metadata="')[1].split('"')[0]
            answer = http.get(metadata, timeout=30)
            assert answer.status_code == 200
            found = answer.json()
            assert found["resource"] == url
            assert found["authorization_servers"]


@pytest.mark.parametrize(
    ("program", "era", "server"),
    [
        ("client_v1.mjs", "legacy", "typescript-1"),
        ("client_v2.mjs", "legacy", "typescript-1"),
        ("client_v2.mjs", "2026-07-28", "typescript-2"),
        ("client_v2.mjs", "auto", "typescript-2"),
        ("client.py", "legacy", "typescript-1"),
        ("client.py", "auto", "typescript-2"),
    ],
)
def test_a_client_that_knows_the_address_finds_the_authorization_server_and_comes_in(bed, programs, program, era, server):
    told = bed.development_server.told
    where = {"url": bed.urls[server], "era": era}
    client = SdkClient(programs, program, told["trust"])
    try:
        registration = {"client_id": told["agent_client_id"], "redirect_uri": REDIRECT, "trust": told["trust"]}
        met = client.do("meet", **where, **registration)
        assert met["found"]["resourceMetadata"]["resource"] == bed.urls[server]
        assert met["found"]["authorizationServerMetadata"]["token_endpoint"] == told["token_endpoint"]
        asked = parse_qs(urlsplit(met["sent_to"]).query)
        assert asked["resource"] == [bed.urls[server]]
        assert asked["code_challenge_method"] == ["S256"]
        came_back = bed.development_server.sign_in(met["sent_to"], "bob")
        client.do("come_in", **where, **{"state": None, "iss": None, **came_back})
        claims = json.loads(client.call("whoami"))["claims"]
        assert claims["oid"] == bed.development_server.people["bob"]["oid"]
        assert claims["aud"] == told["mail_audience"]
    finally:
        client.stop()
