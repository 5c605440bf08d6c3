"""A client on the SDK for Python, which speaks either era. It is driven as driver.mjs says."""

import asyncio
import json
import ssl
import sys

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ToolsListChanged
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata
from mcp.shared.exceptions import MCPError, UrlElicitationRequiredError
from mcp_types import URL_ELICITATION_REQUIRED, CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent


def say(line: dict) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


# What the person says, once a test has said so. Until then they agree to everything.
answers: list[dict] = []


async def ask(_, params) -> ElicitResult:
    if answers:
        say({"asked": plain(params)})
        return ElicitResult(**answers[-1])
    answer = {"string": "Ada", "boolean": True, "integer": 1, "number": 1, "array": []}
    fields = params.requested_schema["properties"].items()
    return ElicitResult(action="accept", content={name: answer[field["type"]] for name, field in fields})


async def model(*_) -> CreateMessageResult:
    content = TextContent(type="text", text="what the model says")
    return CreateMessageResult(role="assistant", model="none", content=content)


async def roots(_) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///work", name="work")])


TOOLS_CHANGED = "notifications/tools/list_changed"


async def notified(message) -> None:
    # It gets everything, progress too.
    if not isinstance(message, Exception) and message.method == TOOLS_CHANGED:
        say({"notified": TOOLS_CHANGED})


class Storage:
    """What a client keeps: the registration that it begins with, and the tokens it gets."""

    def __init__(self, client: OAuthClientInformationFull):
        self.client, self.tokens = client, None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Verbs:
    def __init__(self):
        self.session = None
        self.tasks: dict = {}
        self.closing = asyncio.Event()

    async def _open(self, url: str, era: str, http: httpx2.AsyncClient, asks: bool = True) -> dict:
        async def see_session(response):
            self.session = response.headers.get("mcp-session-id", self.session)

        http.event_hooks["response"].append(see_session)
        self.client = Client(
            streamable_http_client(url, http_client=http),
            mode=era,
            # With it the SDK says that the client shows forms and pages; there is no saying that it shows one of them.
            elicitation_callback=ask if asks else None,
            sampling_callback=model,
            list_roots_callback=roots,
            message_handler=notified,
            # What a list says now is the question, not what it said.
            cache=None,
        )
        opened = asyncio.get_running_loop().create_future()

        # A connection belongs to the task that opened it.
        async def hold():
            try:
                async with http, self.client:
                    opened.set_result(None)
                    await self.closing.wait()
            except BaseException as error:
                if opened.done():
                    raise
                opened.set_exception(error)

        self.held = asyncio.create_task(hold())
        await opened
        server = self.client.server_info
        return {
            "protocol": self.client.protocol_version,
            "server": server and server.name,
            "session": self.session,
        }

    async def connect(self, given, _):
        headers = {"authorization": f"Bearer {given['token']}"} if given.get("token") else {}
        trusted = ssl.create_default_context(cafile=given.get("trust"))
        http = httpx2.AsyncClient(headers=headers, verify=trusted, timeout=120)
        return await self._open(given["url"], given["era"], http, given.get("elicits", {}) is not None)

    async def end(self, *_):
        self.closing.set()
        await self.held

    async def list_tools(self, *_):
        return [plain(tool) for tool in (await self.client.list_tools()).tools]

    async def list_prompts(self, *_):
        return [prompt.name for prompt in (await self.client.list_prompts()).prompts]

    async def list_resources(self, *_):
        return [str(resource.uri) for resource in (await self.client.list_resources()).resources]

    async def list_templates(self, *_):
        found = await self.client.list_resource_templates()
        return [template.uri_template for template in found.resource_templates]

    async def read_resource(self, given, _):
        return [plain(content) for content in (await self.client.read_resource(given["uri"])).contents]

    async def get_prompt(self, given, _):
        found = await self.client.get_prompt(given["name"], given.get("arguments"))
        return [plain(message) for message in found.messages]

    async def call_tool(self, given, tell):
        async def progress(done, total, message):
            tell({"progress": done})

        return plain(await self.client.call_tool(given["name"], given.get("arguments"), progress_callback=progress))

    async def answer(self, given, _):
        answers.append(given)

    async def leg(self, given, _):
        """One leg of a call, which its program takes further itself: what the SDK hands it, and what it brings along."""
        state, responses = given.get("requestState"), given.get("inputResponses")
        if responses is not None:
            responses = {name: ElicitResult(**response) for name, response in responses.items()}
        brings = {"input_responses": responses, "request_state": state, "allow_input_required": True}
        return plain(await self.client.session.call_tool(given["name"], given["arguments"], **brings))

    async def abort(self, given, _):
        self.tasks[given["call"]].cancel()

    async def listen(self, *_):
        honored = asyncio.get_running_loop().create_future()

        async def hold():
            async with self.client.listen(tools_list_changed=True) as subscription:
                honored.set_result(plain(subscription.honored))
                async for event in subscription:
                    # The SDK tells of it by a type of its own.
                    if isinstance(event, ToolsListChanged):
                        say({"notified": TOOLS_CHANGED})

        self.listening = asyncio.create_task(hold())
        return await honored

    async def leave(self, *_):
        self.listening.cancel()
        await asyncio.wait([self.listening])
        return "local"

    async def meet(self, given, _):
        """Begins without a token, and answers with where the person would be sent. The rest is up to `come_in`."""
        self.sent = asyncio.get_running_loop().create_future()
        self.came_back = asyncio.get_running_loop().create_future()
        redirect = given["redirect_uri"]

        async def send(url):
            self.sent.set_result(url)

        async def come_back():
            return AuthorizationCodeResult(**await self.came_back)

        registration = {"redirect_uris": [redirect], "token_endpoint_auth_method": "none"}
        self.authorization = OAuthClientProvider(
            given["url"],
            OAuthClientMetadata(client_name="a standard client", **registration),
            Storage(OAuthClientInformationFull(client_id=given["client_id"], **registration)),
            redirect_handler=send,
            callback_handler=come_back,
        )
        trusted = ssl.create_default_context(cafile=given["trust"])
        http = httpx2.AsyncClient(auth=self.authorization, verify=trusted, timeout=120)
        self.coming = asyncio.create_task(self._open(given["url"], given["era"], http))
        await asyncio.wait([self.sent, self.coming], return_when=asyncio.FIRST_COMPLETED)
        if not self.sent.done():
            return self.coming.result()
        context = self.authorization.context
        return {
            "sent_to": self.sent.result(),
            "found": {
                "resourceMetadata": plain(context.protected_resource_metadata),
                "authorizationServerMetadata": plain(context.oauth_metadata),
            },
        }

    async def come_in(self, given, _):
        self.came_back.set_result({name: given[name] for name in ("code", "state", "iss")})
        return await self.coming


def fault(error: BaseException) -> dict:
    # What went wrong within a group of tasks is what went wrong.
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    told = {"kind": type(error).__name__, "code": None, "status": None, "message": str(error), "data": None}
    if not isinstance(error, MCPError):
        return told
    told |= {"code": error.code, "data": error.data}
    if error.code == URL_ELICITATION_REQUIRED:
        # The SDK reads it when it is asked to.
        pages = UrlElicitationRequiredError.from_error(error.error).elicitations
        told["elicitations"] = [plain(page) for page in pages]
    return told


async def main() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    verbs = Verbs()

    async def do(number, verb, given):
        try:
            result = await getattr(verbs, verb)(given, lambda event: say({"id": number, "event": event}))
            say({"id": number, "result": result})
        except asyncio.CancelledError:
            say({"id": number, "fault": {"kind": "Cancelled", "code": None, "status": None, "message": ""}})
        except BaseException as error:
            say({"id": number, "fault": fault(error)})

    while line := await reader.readline():
        told = json.loads(line)
        verbs.tasks[told["id"]] = asyncio.create_task(do(told["id"], told["verb"], told["given"]))


asyncio.run(main())
