"""A fixture server of both eras on the SDK for Python. Its one argument is the port. Its tools are those of ours in
catalogue.mjs, so that a client can be shown any of the servers."""

import base64
import json
import sys
import time

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    SamplingMessage,
    TextContent,
    ToolAnnotations,
)
from pydantic import BaseModel

# Longest wait for another call of the same visit; see catalogue.mjs.
WAIT_SECONDS = 60

server = MCPServer("python-fixture")
steps: dict[str, anyio.Event] = {}
left: dict[str, anyio.Event] = {}


class Person(BaseModel):
    name: str


def is_modern(context: Context) -> bool:
    return context.protocol_version >= "2026-07-28"


async def reached(of: dict, key: str) -> None:
    with anyio.fail_after(WAIT_SECONDS):
        await of.setdefault(key, anyio.Event()).wait()


def text(line: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=line)])


@server.tool()
async def test_simple_text() -> CallToolResult:
    return text("A line of text.")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def whoami(context: Context) -> CallToolResult:
    authorization = (context.headers or {}).get("authorization")
    claims = None
    if authorization:
        payload = authorization.removeprefix("Bearer ").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return text(json.dumps({"claims": claims, "authorization": authorization}))


@server.tool()
async def in_steps(key: str, context: Context) -> CallToolResult:
    for step in (1, 2, 3):
        await context.report_progress(step, 3)
        await reached(steps, f"{key} {step}")
    return text("three steps")


@server.tool()
async def next_step(key: str, step: str) -> CallToolResult:
    steps.setdefault(f"{key} {step}", anyio.Event()).set()
    return text(f"step {step}")


@server.tool()
async def linger(key: str, context: Context) -> CallToolResult:
    try:
        await context.report_progress(1, 2)
        await anyio.sleep(WAIT_SECONDS)
        return text("nobody left")
    finally:
        left.setdefault(key, anyio.Event()).set()


@server.tool()
async def was_left(key: str) -> CallToolResult:
    before = time.monotonic()
    await reached(left, key)
    # Not because it was tired of waiting.
    assert time.monotonic() - before < WAIT_SECONDS / 2
    return text("cancelled")


@server.tool()
async def ask_name(context: Context) -> CallToolResult | InputRequiredResult:
    if not is_modern(context):
        answer = await context.elicit("Who is it?", Person)
        return text(f"It is {answer.data.name}.")
    if context.input_responses:
        return text(f"It is {context.input_responses['user_name'].content['name']}.")
    asked = ElicitRequestFormParams(message="Who is it?", requested_schema=Person.model_json_schema())
    return InputRequiredResult(input_requests={"user_name": ElicitRequest(params=asked)})


@server.tool()
async def ask_model(context: Context) -> CallToolResult | InputRequiredResult:
    messages = [SamplingMessage(role="user", content=TextContent(type="text", text="Which capital?"))]
    if not is_modern(context):
        answer = await context.session.create_message(messages, max_tokens=100)
    elif context.input_responses:
        answer = context.input_responses["capital_question"]
    else:
        asked = CreateMessageRequestParams(messages=messages, max_tokens=100)
        return InputRequiredResult(input_requests={"capital_question": CreateMessageRequest(params=asked)})
    return text(f"The model says: {answer.content.text}")


@server.tool()
async def change_the_tools(context: Context) -> CallToolResult:
    if is_modern(context):
        await context.notify_tools_changed()
    else:
        await context.session.send_tool_list_changed()
    return text("told")


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
async def delete_everything() -> CallToolResult:
    return text("gone")


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    return "The same text every time."


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    return json.dumps({"id": id})


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    return f"First {arg1}, then {arg2}."


async def main(port: int) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: server.run_streamable_http_async(host="127.0.0.1", port=port))
        while True:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                break
            except OSError:
                await anyio.sleep(0.05)
        print("listening", flush=True)


anyio.run(main, int(sys.argv[1]))
