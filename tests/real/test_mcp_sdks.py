"""The official MCP SDKs, as clients and as servers of either era, with the gateway between them."""

import json
import uuid
from dataclasses import dataclass

import pytest
import requests
from support.connector import KeySet
from support.gateway import Gateway
from support.mcp_client import Fault, SdkClient, text_of
from support.mcp_parts import Everything, Listening

LEGACY = "2025-11-25"
MODERN = "2026-07-28"
# JSON-RPC's "invalid params": what MCP has for a tool that is not known.
INVALID_PARAMS = -32602
TYPESCRIPT_1, TYPESCRIPT_2, PYTHON = "client_v1.mjs", "client_v2.mjs", "client.py"
# The people of the development authorization server. Policy lets Bob call one tool more than Ada.
ADA, BOB = "ada", "bob"
BOBS_TOOL = "delete_everything"
FOR_ALL = [
    *("ask_*", "change_the_tools", "echo", "get-*", "in_steps", "linger", "next_step", "test_*", "trigger-*"),
    *("was_left", "whoami"),
]


@dataclass
class Pairing:
    """A client, what it is told of the era, the version that comes of it, and a server."""

    client: str
    era: str
    protocol: str
    server: str

    def __str__(self):
        return f"{self.client.split('.')[0]} {self.era} {self.server}"


PAIRINGS = [
    Pairing(client, era, protocol, server)
    for client, era, protocol, servers in (
        (TYPESCRIPT_1, "legacy", LEGACY, ("typescript-1", "python")),
        (TYPESCRIPT_2, "legacy", LEGACY, ("typescript-1", "python")),
        (PYTHON, "legacy", LEGACY, ("typescript-1", "python")),
        (TYPESCRIPT_2, MODERN, MODERN, ("typescript-2", "python")),
        (PYTHON, MODERN, MODERN, ("typescript-2", "python")),
    )
    for server in servers
]
# Clients that try the modern era first, and take what there is.
EITHER = [
    Pairing(client, "auto", protocol, server)
    for client in (TYPESCRIPT_2, PYTHON)
    for server, protocol in (("typescript-1", LEGACY), ("typescript-2", MODERN), ("python", MODERN))
]


class Bed:
    """The servers, and a gateway in front of all of them."""

    def __init__(self, development_server, programs, servers: dict, folder):
        self.development_server, self.programs, self.servers = development_server, programs, servers
        self.key_set = KeySet(
            f"{development_server.told['authority']}/discovery/v2.0/keys", verify=development_server.told["trust"]
        )
        names = [f"{server}/*" for server in servers]
        bob = development_server.people[BOB]["oid"]
        tools = [f"{server}/{tool}" for server in servers for tool in FOR_ALL]
        self.gateway = Gateway(
            folder,
            {"entra": development_server.issuer(development_server.secret(folder))},
            {name: development_server.mcp(name, server.url) for name, server in servers.items()},
            [
                {"name": "everybody", "tools": tools, "prompts": names, "resources": names},
                {"name": "bob", "subjects": {"ids": [bob]}, "tools": [f"*/{BOBS_TOOL}"]},
            ],
        )

    def url(self, server: str) -> str:
        return f"{self.gateway.origin}/{server}/mcp"

    def token(self, person: str) -> str:
        return self.development_server.people[person]["token"]

    def client(self, pairing: Pairing) -> SdkClient:
        return SdkClient(self.programs, pairing.client, self.development_server.told["trust"])

    def connect(self, client: SdkClient, pairing: Pairing, person: str | None) -> dict:
        """Through the gateway as a person, or to the server itself without one."""
        if person is None:
            return client.do("connect", url=self.servers[pairing.server].url, era=pairing.era)
        url, token = self.url(pairing.server), self.token(person)
        return client.do("connect", url=url, era=pairing.era, token=token)


@pytest.fixture(scope="module")
def bed(development_server, programs, legacy_server, modern_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mcp-sdks")
    everything = Everything(programs)
    with Listening(programs, "python_server.py") as python:
        servers = {
            "typescript-1": legacy_server,
            "typescript-2": modern_server,
            "python": python,
            "everything": everything,
        }
        bed = Bed(development_server, programs, servers, folder)
        yield bed
        bed.gateway.stop()
    everything.stop()


class Visitors:
    """Ada and Bob through the gateway, and somebody at the server itself."""

    def __init__(self, bed: Bed, pairing: Pairing):
        self.bed, self.pairing = bed, pairing
        self.ada, self.bob, self.direct = (bed.client(pairing) for _ in range(3))
        self.met = {
            person: bed.connect(client, pairing, person)
            for person, client in ((ADA, self.ada), (BOB, self.bob), (None, self.direct))
        }

    def stop(self) -> None:
        for client in (self.ada, self.bob, self.direct):
            client.stop()


@pytest.fixture(scope="module", params=PAIRINGS, ids=str)
def visitors(request, bed):
    visitors = Visitors(bed, request.param)
    yield visitors
    visitors.stop()


def tools_of(client: SdkClient) -> dict:
    return {tool["name"]: tool for tool in client.do("list_tools")}


def test_they_speak_the_version_that_they_would_speak_without_it(visitors):
    for met in visitors.met.values():
        assert met["protocol"] == visitors.pairing.protocol
        assert met["server"] == visitors.met[None]["server"]
        # Sessions are for those who have them.
        assert (met["session"] is not None) == (met["protocol"] == LEGACY)


def test_a_person_sees_what_there_is_and_what_policy_lets_them_call(visitors):
    all_of_it = tools_of(visitors.direct)
    assert BOBS_TOOL in all_of_it
    for name in ("whoami", "in_steps", "ask_name"):
        assert name in all_of_it
    assert "annotations" in all_of_it["whoami"]
    # As the server describes them, all but the one.
    assert tools_of(visitors.bob) == {name: tool for name, tool in all_of_it.items() if visible(name, BOB)}
    assert tools_of(visitors.ada) == {name: tool for name, tool in all_of_it.items() if visible(name, ADA)}
    for list_them in ("list_prompts", "list_resources", "list_templates"):
        there = visitors.direct.do(list_them)
        assert there
        assert visitors.ada.do(list_them) == there


def visible(tool: str, person: str) -> bool:
    # The conformance suite's tools that nobody allowed here.
    return tool != "json_schema_2020_12_tool" and (tool != BOBS_TOOL or person == BOB)


def test_it_gets_what_the_server_gives(visitors):
    for verb, given in (
        ("read_resource", {"uri": "test://static-text"}),
        ("read_resource", {"uri": "test://template/7/data"}),
        ("get_prompt", {"name": "test_prompt_with_arguments", "arguments": {"arg1": "one", "arg2": "two"}}),
        ("call_tool", {"name": "test_simple_text", "arguments": {}}),
    ):
        given_directly = visitors.direct.do(verb, **given)
        assert given_directly
        assert visitors.ada.do(verb, **given) == given_directly, verb


def test_each_person_is_seen_as_themselves_and_their_token_by_nobody(visitors):
    bed = visitors.bed
    told = bed.development_server.told
    assert json.loads(visitors.direct.call("whoami")) == {"claims": None, "authorization": None}
    tokens = set()
    for _ in range(2):
        for person, client in ((ADA, visitors.ada), (BOB, visitors.bob)):
            seen = json.loads(client.call("whoami"))
            token = seen["authorization"].removeprefix("Bearer ")
            assert token != bed.token(person)
            claims = bed.key_set.claims(token, told["issuer"], told["mail_audience"])
            assert claims["oid"] == bed.development_server.people[person]["oid"]
            assert "Mail.Read" in claims["scp"].split()
            tokens.add(token)
    # One for each person.
    assert len(tokens) == 2


def test_progress_comes_while_the_tool_works(visitors):
    # The tool takes its next step only when somebody who saw the last one says so.
    key = str(uuid.uuid4())
    begun = visitors.ada.begin("call_tool", name="in_steps", arguments={"key": key})
    for step in (1, 2, 3):
        assert begun.event() == {"progress": step}
        visitors.ada.call("next_step", key=key, step=str(step))
    assert text_of(begun.result()) == "three steps"


def test_the_server_can_ask_the_person_and_the_model(visitors):
    assert visitors.ada.call("ask_name") == "It is Ada."
    assert visitors.ada.call("ask_model") == "The model says: what the model says"


def test_a_change_is_told_to_those_who_listen(visitors):
    if visitors.pairing.protocol == MODERN:
        assert visitors.ada.do("listen")["toolsListChanged"] is True
    visitors.ada.call("change_the_tools")
    assert visitors.ada.notified() == "notifications/tools/list_changed"
    if visitors.pairing.protocol == MODERN:
        assert visitors.ada.do("leave") == "local"


def test_giving_up_reaches_the_server(visitors):
    # Legacy: by a notification. Modern: by hanging up.
    key = str(uuid.uuid4())
    begun = visitors.ada.begin("call_tool", name="linger", arguments={"key": key})
    assert begun.event() == {"progress": 1}
    visitors.ada.do("abort", call=begun.number)
    with pytest.raises(Fault):
        begun.result()
    assert visitors.ada.call("was_left", key=key) == "cancelled"


def test_a_tool_that_policy_does_not_allow_is_as_one_that_is_not_there(visitors):
    faults = {}
    for name in (BOBS_TOOL, "no_such_tool"):
        with pytest.raises(Fault) as raised:
            visitors.ada.call(name)
        faults[name] = raised.value
    assert faults[BOBS_TOOL].code == faults["no_such_tool"].code == INVALID_PARAMS
    assert faults[BOBS_TOOL].message.replace(BOBS_TOOL, "NAME") == faults["no_such_tool"].message.replace(
        "no_such_tool", "NAME"
    )
    assert visitors.bob.call(BOBS_TOOL) == "gone"


@pytest.mark.parametrize("pairing", [pairing for pairing in PAIRINGS if pairing.protocol == LEGACY], ids=str)
def test_a_session_belongs_to_who_opened_it_and_ends_with_them(bed, pairing):
    client = bed.client(pairing)
    try:
        session = bed.connect(client, pairing, ADA)["session"]
        url = bed.url(pairing.server)
        ask = lambda person: session_status(url, bed.token(person), session)  # noqa: E731
        assert ask(ADA) == 200
        assert ask(BOB) == 404
        client.do("end")
        assert ask(ADA) == 404
    finally:
        client.stop()


def session_status(url: str, token: str, session: str) -> int:
    """What somebody gets who names that session."""
    with requests.Session() as http:
        http.trust_env = False
        answer = http.post(
            url,
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
            headers={
                "authorization": f"Bearer {token}",
                "accept": "application/json, text/event-stream",
                "mcp-session-id": session,
                "mcp-protocol-version": LEGACY,
            },
            timeout=60,
        )
        return answer.status_code


@pytest.mark.parametrize("pairing", EITHER, ids=str)
def test_a_client_that_speaks_both_eras_finds_the_servers(bed, pairing):
    client = bed.client(pairing)
    try:
        assert bed.connect(client, pairing, ADA)["protocol"] == pairing.protocol
        assert client.call("test_simple_text") == "A line of text."
    finally:
        client.stop()


@pytest.mark.parametrize("program", [TYPESCRIPT_1, TYPESCRIPT_2, PYTHON])
def test_server_everything_serves_as_it_does_without_it(bed, program):
    pairing = Pairing(program, "legacy", LEGACY, "everything")
    ada, direct = bed.client(pairing), bed.client(pairing)
    try:
        for client, person in ((ada, ADA), (direct, None)):
            assert bed.connect(client, pairing, person)["protocol"] == LEGACY
        there = tools_of(direct)
        assert len(there) >= 12
        # One tool is a task of an experiment of its own.
        allowed = {name: tool for name, tool in there.items() if name.startswith(("echo", "get-", "trigger-"))}
        assert {name: tool for name, tool in tools_of(ada).items()} == allowed
        document = direct.do("list_resources")[0]
        for verb, given in (
            ("list_prompts", {}),
            ("list_resources", {}),
            ("list_templates", {}),
            ("read_resource", {"uri": document}),
            ("get_prompt", {"name": "args-prompt", "arguments": {"city": "Paris"}}),
            ("call_tool", {"name": "get-sum", "arguments": {"a": 2, "b": 3}}),
            ("call_tool", {"name": "get-tiny-image", "arguments": {}}),
            ("call_tool", {"name": "get-structured-content", "arguments": {"location": "New York"}}),
            ("call_tool", {"name": "trigger-sampling-request", "arguments": {"prompt": "Hello", "maxTokens": 5}}),
            ("call_tool", {"name": "trigger-elicitation-request", "arguments": {}}),
        ):
            assert ada.do(verb, **given) == direct.do(verb, **given), (verb, given)
        begun = ada.begin(
            "call_tool", name="trigger-long-running-operation", arguments={"duration": 1, "steps": 4}
        )
        assert [begun.event()["progress"] for _ in range(4)] == [1, 2, 3, 4]
        begun.result()
    finally:
        ada.stop()
        direct.stop()
