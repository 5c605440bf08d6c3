"""The Microsoft Graph SDK for Python, with the gateway in Graph's place."""

import asyncio

import pytest
from kiota_abstractions.api_error import APIError
from kiota_abstractions.authentication import AccessTokenProvider, AllowedHostsValidator
from kiota_abstractions.authentication import BaseBearerTokenAuthenticationProvider
from msgraph import GraphRequestAdapter, GraphServiceClient
from support.gateway import Gateway


class TokenOf(AccessTokenProvider):
    """The person's own token, which an agent has from their sign-in."""

    def __init__(self, token: str):
        self._token = token

    async def get_authorization_token(self, uri, additional_authentication_context=None):
        return self._token

    def get_allowed_hosts_validator(self):
        return AllowedHostsValidator(["127.0.0.1"])


@pytest.fixture
def gateway(development_server, tmp_path):
    server = development_server
    auth = {"certificate": server.told["certificate"], "key": server.told["key"]}
    tools = {
        "list_messages": {"match": "GET /me/messages", "scopes": ["Mail.Read"]},
        "read_message": {"match": "GET /me/messages/{id}", "scopes": ["Mail.Read"]},
        "send_message": {"match": "POST /me/sendMail", "scopes": ["Mail.Send"]},
    }
    gateway = Gateway(tmp_path, {"entra": server.issuer(auth)}, {"mail": server.mail(tools=tools)})
    yield gateway
    gateway.stop()


def graph(gateway, token: str) -> GraphServiceClient:
    adapter = GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(TokenOf(token)))
    # All that changes for an agent that used Graph before.
    adapter.base_url = f"{gateway.origin}/mail"
    return GraphServiceClient(request_adapter=adapter)


def test_it_reads_each_persons_own_messages(development_server, gateway):
    async def read(person):
        client = graph(gateway, person["token"])
        messages = (await client.me.messages.get()).value
        first = await client.me.messages.by_message_id(messages[0].id).get()
        return messages, first

    subjects = {}
    for name, person in development_server.people.items():
        messages, first = asyncio.run(read(person))
        assert messages
        assert first.id == messages[0].id and first.subject == messages[0].subject
        recipients = {to.email_address.address for message in messages for to in message.to_recipients}
        assert recipients == {person["address"]}
        subjects[name] = {message.id for message in messages}
    assert not subjects["ada"] & subjects["bob"]
    assert gateway.exchanges("entra") == 2
    assert [record["actor"]["user"]["uid"] for record in gateway.records(4)] == [
        person["oid"] for person in development_server.people.values() for _ in range(2)
    ]


def test_it_raises_a_refusal_with_what_the_person_can_do(development_server, gateway):
    from msgraph.generated.models.message import Message
    from msgraph.generated.users.item.send_mail.send_mail_post_request_body import SendMailPostRequestBody

    client = graph(gateway, development_server.people["ada"]["token"])
    with pytest.raises(APIError) as raised:
        asyncio.run(client.me.send_mail.post(SendMailPostRequestBody(message=Message(subject="Hello"))))
    assert raised.value.response_status_code == 403
    record = gateway.records(1)[0]
    assert record["unmapped"]["obo"]["outcome"] == "consent_required"


def test_it_cannot_reach_what_is_not_a_tool(development_server, gateway):
    client = graph(gateway, development_server.people["ada"]["token"])
    with pytest.raises(APIError) as raised:
        asyncio.run(client.me.contacts.get())
    assert raised.value.response_status_code == 403
    assert gateway.records(1)[0]["unmapped"]["obo"]["outcome"] == "tool_unlisted"
    assert gateway.exchanges("entra") == 0
