"""What the gateway asks people, as the official MCP SDKs understand it as clients: to connect an account, and to agree to a call.

The SDK for TypeScript v1 speaks 2025-11-25 alone. In that revision every SDK leaves it to the program to open the page that the
error names and to call again, and the gateway asks by no form, so a client that shows forms alone reads the link. In 2026-07-28
the SDKs ask and go on by themselves. The SDK for Python says of every client that can be asked that it shows forms and pages, so it is
always sent to the page: the form is seen by TypeScript v2 here, and by the SDK for Rust in tests/rmcp.
"""

import json
import re
from dataclasses import dataclass

import pytest
from support.certificates import for_loopback
from support.development_server import DevelopmentServer
from support.gateway import Gateway
from support.mcp_client import Fault, SdkClient, text_of
from support.mcp_parts import Listening
from support.people import Person
from support.running import free_port

LEGACY, MODERN = "2025-11-25", "2026-07-28"
# What 2025-11-25 has for a page that is to be opened first.
URL_REQUIRED = -32042
# JSON-RPC's "invalid params": what a call goes on with is not this one's.
INVALID_PARAMS = -32602
TYPESCRIPT_1, TYPESCRIPT_2, PYTHON = "client_v1.mjs", "client_v2.mjs", "client.py"
ADA, BOB = Person("ada", "Ada"), Person("bob", "Bob")
# What a client says that it can show.
PAGES, FORMS, NOTHING = {"form": {}, "url": {}}, {"form": {}}, None
ACCEPT, DECLINE = {"action": "accept"}, {"action": "decline"}
AGREE = {"action": "accept", "content": {"agree": True}}
REFUSAL = "obo-gateway/refusal"


@dataclass(frozen=True)
class Pairing:
    """A client, and the revision that it speaks with a server."""

    client: str
    protocol: str
    server: str

    @property
    def era(self) -> str:
        return "legacy" if self.protocol == LEGACY else self.protocol

    @property
    def connector(self) -> str:
        return f"{self.client.split('.')[0].replace('_', '-')}-{self.era}"

    @property
    def whole(self) -> str:
        return f"{self.connector}-whole"

    def __str__(self):
        return self.connector


IN_LEGACY = [
    Pairing(TYPESCRIPT_1, LEGACY, "typescript-1"),
    Pairing(TYPESCRIPT_2, LEGACY, "typescript-1"),
    Pairing(PYTHON, LEGACY, "python"),
]
IN_MODERN = [Pairing(TYPESCRIPT_2, MODERN, "typescript-2"), Pairing(PYTHON, MODERN, "python")]
WITH_FORMS = [pairing for pairing in IN_MODERN if pairing.client != PYTHON]
in_legacy = pytest.mark.parametrize("pairing", IN_LEGACY, ids=str)
in_modern = pytest.mark.parametrize("pairing", IN_MODERN, ids=str)
in_either = pytest.mark.parametrize("pairing", IN_LEGACY + IN_MODERN, ids=str)
with_forms = pytest.mark.parametrize("pairing", WITH_FORMS, ids=str)


class Server(DevelopmentServer):
    """The company, where people pick who they are, and the service where they have accounts: one and the same."""

    def sign_in(self, visitor, person: Person) -> None:
        visitor.press(re.compile(person.name))
        if visitor.page.get_by_role("button", name="Allow", exact=True).count():
            visitor.press("Allow")

    def account(self, person: Person) -> str:
        return self.people[person.username]["address"]


class Bed:
    """A gateway over TLS, and for each pairing a connector with a tool for people's own accounts and one that they agree to, and
    one that is for their accounts as a whole."""

    def __init__(self, programs, servers: dict, folder):
        self.programs = programs
        self.origin = f"https://127.0.0.1:{free_port()}"
        self.account = f"{self.origin}/account"
        names = [name for pairing in IN_LEGACY + IN_MODERN for name in (pairing.connector, pairing.whole)]
        back = [f"{self.account}/{rest}" for rest in ("signed-in", *(f"callback/{name}" for name in names))]
        self.server = Server(folder, *back)
        self.company = self.service = self.server
        private_key, certificate, self.authority = for_loopback(folder)
        key = folder / "vault.key"
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
        told = self.server.told
        client_auth = self.server.secret(folder)
        mail_read = f"{told['mail_audience']}/Mail.Read"
        connection = {
            "issuer": told["issuer"],
            "ca_file": told["trust"],
            "client_id": told["client_id"],
            "client_auth": client_auth,
            "scopes": ["openid", "offline_access", mail_read],
        }
        tools = {"whoami": {"identity": "connection", "scopes": [mail_read]}, "next_step": {"confirm": True}}
        connectors = {}
        for pairing in IN_LEGACY + IN_MODERN:
            upstream = servers[pairing.server].url
            part = self.server.mcp(pairing.connector, upstream, connection=connection, tools=tools)
            whole = self.server.mcp(pairing.whole, upstream, connection=connection, identity="connection")
            # What it gets is what people granted.
            del whole["audience"], whole["scopes"]
            connectors |= {pairing.connector: part, pairing.whole: whole}
        self.gateway = Gateway(
            folder,
            {"contoso": self.server.issuer(client_auth)},
            connectors,
            [{"name": "everybody", "tools": ["*/*"], "prompts": ["*/*"], "resources": ["*/*"]}],
            origin=self.origin,
            listen=self.origin.removeprefix("https://"),
            public_url=self.origin,
            pages={},
            tls={"certificate": str(certificate), "key": str(private_key)},
            vault={"file": str(folder / "vault.db"), "keys": [{"id": "test", "file": str(key)}]},
        )

    def connect(self, client: SdkClient, pairing: Pairing, connector: str, person: Person, elicits: dict | None) -> None:
        """Begins as that person, for a client that shows these."""
        met = client.do(
            "connect",
            url=f"{self.origin}/{connector}/mcp",
            era=pairing.era,
            token=self.server.people[person.username]["token"],
            trust=str(self.authority),
            elicits=elicits,
        )
        assert met["protocol"] == pairing.protocol

    def stop(self) -> None:
        self.gateway.stop()
        self.server.stop()


@pytest.fixture(scope="module")
def bed(programs, legacy_server, modern_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mcp-elicitation")
    with Listening(programs, "python_server.py") as python:
        servers = {"typescript-1": legacy_server, "typescript-2": modern_server, "python": python}
        bed = Bed(programs, servers, folder)
        yield bed
        bed.stop()


@pytest.fixture
def begin(bed):
    """Begins clients, which end with the test."""
    begun = []

    def begin(pairing: Pairing) -> SdkClient:
        begun.append(SdkClient(bed.programs, pairing.client, str(bed.authority)))
        return begun[-1]

    yield begin
    for client in begun:
        client.stop()


@pytest.fixture
def connect(bed, begin):
    """Clients of a person, which show these, and what the person says when they are asked."""

    def connect(pairing: Pairing, elicits: dict | None = PAGES, answer: dict = ACCEPT, person: Person = ADA) -> SdkClient:
        client = begin(pairing)
        bed.connect(client, pairing, pairing.connector, person, elicits)
        client.do("answer", **answer)
        return client

    return connect


def step(test: str, number: int = 1) -> dict:
    """The arguments of a call that its person has to agree to: of one test, so that each has questions of its own."""
    return {"key": test, "step": str(number)}


def begin_step(client: SdkClient, arguments: dict):
    return client.begin("call_tool", name="next_step", arguments=arguments)


def refused(result: dict) -> dict:
    """The refusal that a tool's result is, as a program reads it. A model reads its code."""
    assert result["isError"], result
    refusal = result["_meta"][REFUSAL]
    assert refusal["code"] in result["content"][0]["text"], result
    return refusal


def page_of(fault: Fault) -> str:
    """The page that has to be opened first, as the SDK reads the error."""
    assert fault.code == URL_REQUIRED, fault
    (page,) = fault.elicitations
    assert page["mode"] == "url" and page["elicitationId"] and page["message"], page
    return page["url"]


def page_in(asked: dict) -> str:
    """The page that the SDK asked its person to open."""
    assert asked["mode"] == "url" and asked["message"], asked
    return asked["url"]


def legacy_page(client: SdkClient, name: str, arguments: dict) -> str:
    with pytest.raises(Fault) as raised:
        client.call(name, **arguments)
    return page_of(raised.value)


def agree_on_page(visitor, link: str, *shown: str) -> None:
    read(visitor, link, *shown)
    visitor.press("Agree to this call")
    visitor.sees("You have agreed")


def read(visitor, link: str, *shown: str) -> None:
    assert link.startswith(f"{visitor.bed.account}/confirm/"), link
    visitor.sign_in(ADA, link)
    visitor.sees("May this run?", "next_step", *shown)


def is_adas(bed: Bed, answer: str) -> bool:
    claims = json.loads(answer)["claims"]
    return claims["oid"] == bed.server.people["ada"]["oid"]


@in_legacy
def test_a_legacy_client_hears_which_page_connects_the_account_and_the_same_call_then_answers(
    bed, connect, visit, pairing
):
    client = connect(pairing)
    link = legacy_page(client, "whoami", {})
    assert legacy_page(client, "whoami", {}) == link, "one link for one question"
    visit(bed).connect(ADA, link, pairing.connector)
    assert is_adas(bed, client.call("whoami"))
    assert client.asked_so_far() == []


@in_either
def test_where_lists_are_of_the_account_too_what_a_client_does_first_says_which_page_connects_it(
    bed, begin, visit, pairing
):
    # Neither revision has a way to ask somebody at that point.
    client = begin(pairing)
    with pytest.raises(Fault) as raised:
        bed.connect(client, pairing, pairing.whole, ADA, PAGES)
        # In 2026-07-28 the SDK for Python begins by saying nothing.
        client.do("list_tools")
    told = raised.value.message
    if pairing.client == TYPESCRIPT_2 and pairing.protocol == MODERN:
        # Its message is that access was denied, and what the gateway said goes with it.
        told = raised.value.data["text"]
    link = re.search(rf"{bed.account}/connect/[\w-]+", told)
    assert link, raised.value
    visit(bed).connect(ADA, link[0], pairing.whole)
    client = begin(pairing)
    bed.connect(client, pairing, pairing.whole, ADA, PAGES)
    assert is_adas(bed, client.call("whoami"))


@in_modern
def test_a_modern_client_opens_the_page_that_connects_the_account_and_the_same_call_answers(
    bed, connect, visit, pairing
):
    client = connect(pairing)
    begun = client.begin("call_tool", name="whoami", arguments={})
    link = page_in(client.asked())
    visit(bed).connect(ADA, link, pairing.connector)
    assert is_adas(bed, text_of(begun.result()))
    # Those who take their time are asked again for the same.
    assert {page_in(asked) for asked in client.asked_so_far()} <= {link}
    assert is_adas(bed, client.call("whoami"))
    assert client.asked_so_far() == [], "what is connected stays so"


@in_modern
def test_who_declines_to_connect_is_not_asked_again(connect, pairing):
    client = connect(pairing, answer=DECLINE, person=BOB)
    for _ in range(2):
        result = client.do("call_tool", name="whoami", arguments={})
        assert refused(result)["code"] == "connection_declined"
    assert len(client.asked_so_far()) == 1


@in_legacy
def test_a_legacy_client_hears_which_page_asks_about_the_call_and_calls_again(bed, connect, visit, pairing):
    client = connect(pairing)
    link = legacy_page(client, "next_step", step("legacy"))
    agree_on_page(visit(bed), link, '"key": "legacy"')
    # Another argument is another call.
    assert legacy_page(client, "next_step", step("legacy", 2)) != link
    assert client.call("next_step", **step("legacy")) == "step 1"
    assert legacy_page(client, "next_step", step("legacy")) != link, "it ran once"
    assert client.asked_so_far() == []


@in_legacy
def test_a_call_that_was_declined_on_its_page_is_refused_in_a_legacy_client(bed, connect, visit, pairing):
    client = connect(pairing)
    visitor = visit(bed)
    read(visitor, legacy_page(client, "next_step", step("declined")))
    visitor.press("Decline")
    visitor.sees("Declined")
    result = client.do("call_tool", name="next_step", arguments=step("declined"))
    assert refused(result)["code"] == "confirmation_declined"


@in_modern
def test_a_modern_client_opens_the_page_of_the_call_which_runs_once_its_person_has_agreed(
    bed, connect, visit, pairing
):
    client = connect(pairing)
    begun = begin_step(client, step("page"))
    link = page_in(client.asked())
    agree_on_page(visit(bed), link, '"key": "page"')
    assert text_of(begun.result()) == "step 1"
    assert {page_in(asked) for asked in client.asked_so_far()} <= {link}


@in_modern
def test_that_the_page_was_opened_is_no_agreement(bed, connect, visit, pairing):
    client = connect(pairing)
    begun = begin_step(client, step("opened"))
    visitor = visit(bed)
    read(visitor, page_in(client.asked()))
    visitor.press("Decline")
    visitor.sees("Declined")
    assert refused(begun.result())["code"] == "confirmation_declined"


@in_modern
def test_who_declines_in_the_client_is_not_asked_about_that_call_again(connect, pairing):
    client = connect(pairing, answer=DECLINE)
    for _ in range(2):
        assert refused(begin_step(client, step("no")).result())["code"] == "confirmation_declined"
    assert len(client.asked_so_far()) == 1
    # Another one is another question.
    refused(begin_step(client, step("no", 2)).result())
    assert len(client.asked_so_far()) == 1


@with_forms
def test_a_client_that_shows_forms_shows_the_whole_call_and_a_yes_lets_it_run_once(connect, pairing):
    client = connect(pairing, FORMS, AGREE)
    for number in (1, 2, 2):
        assert text_of(begin_step(client, step("form", number)).result()) == f"step {number}"
        (asked,) = client.asked_so_far()
        assert asked["mode"] == "form"
        assert asked["requestedSchema"]["required"] == ["agree"]
        wanted = f"wants to call next_step on {pairing.connector}, as you"
        for shown in (wanted, '"key": "form"', f'"step": "{number}"'):
            assert shown in asked["message"], asked


@with_forms
@pytest.mark.parametrize(
    ("how", "said"), [("declined", DECLINE), ("unticked", {"action": "accept", "content": {"agree": False}})]
)
def test_a_no_in_the_form_is_a_refusal(connect, pairing, how, said):
    client = connect(pairing, FORMS, said)
    assert refused(begin_step(client, step(how)).result())["code"] == "confirmation_declined"
    client.do("answer", **AGREE)
    assert refused(begin_step(client, step(how)).result())["code"] == "confirmation_declined"
    assert len(client.asked_so_far()) == 1


@in_either
def test_a_client_that_cannot_ask_has_its_model_read_the_link(bed, connect, visit, pairing):
    # In 2025-11-25 forms are no way for the gateway to ask.
    cannot = FORMS if pairing.protocol == LEGACY and pairing.client != PYTHON else NOTHING
    client = connect(pairing, cannot)
    result = begin_step(client, step("read")).result()
    refusal = refused(result)
    assert refusal["code"] == "confirmation_required"
    assert refusal["confirm_url"] in result["content"][0]["text"]
    agree_on_page(visit(bed), refusal["confirm_url"], '"key": "read"')
    assert client.call("next_step", **step("read")) == "step 1"
    assert refused(begin_step(client, step("read")).result())["code"] == "confirmation_required"
    assert client.asked_so_far() == []


@in_modern
def test_a_state_is_good_for_the_call_of_the_person_that_it_was_given_out_for(bed, connect, visit, pairing):
    client, bobs = connect(pairing), connect(pairing, person=BOB)
    call = {"name": "next_step", "arguments": step("state")}
    first = client.do("leg", **call)
    assert first["resultType"] == "input_required"
    (key, question), *_ = first["inputRequests"].items()
    assert question["method"] == "elicitation/create"
    brought = {"requestState": first["requestState"], "inputResponses": {key: ACCEPT}}
    agree_on_page(visit(bed), page_in(question["params"]), '"key": "state"')
    changed = {**call, "arguments": step("state", 2)}
    forged = {**brought, "requestState": first["requestState"][:-4] + "AAAA"}
    unasked = {"inputResponses": brought["inputResponses"]}
    for whose, tried in (
        (client, {**changed, **brought}),
        (bobs, {**call, **brought}),
        (client, {**call, **forged}),
        (client, {**call, **unasked}),
    ):
        with pytest.raises(Fault) as raised:
            whose.do("leg", **tried)
        assert (raised.value.code, raised.value.data["code"]) == (INVALID_PARAMS, "state_refused"), tried
    # The client may be another process by now.
    assert text_of(connect(pairing).do("leg", **call, **brought)) == "step 1"
    # What was agreed to has run; it is asked about anew.
    again = client.do("leg", **call, **brought)
    assert again["resultType"] == "input_required"
    assert page_in(again["inputRequests"][key]["params"]) != page_in(question["params"])
