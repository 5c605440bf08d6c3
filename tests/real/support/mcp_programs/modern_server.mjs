// A fixture server of the modern era (2026-07-28) on the TypeScript SDK v2: no sessions, mirrored headers, input asked for
// in results, and change notices on `subscriptions/listen`. Its one argument is the port.

import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { toNodeHandler } from "@modelcontextprotocol/node";
import {
    CLIENT_CAPABILITIES_META_KEY,
    McpServer,
    ProtocolError,
    ProtocolErrorCode,
    ResourceTemplate,
    acceptedContent,
    createMcpHandler,
    createRequestStateCodec,
    fromJsonSchema,
    inputRequired,
} from "@modelcontextprotocol/server";
import { described, prompts, read, resources, template, text, tools } from "./catalogue.mjs";
import { isFromHere, refuse } from "./http.mjs";

// State that goes through the client and back: sealed, so that one that was altered is refused.
const states = createRequestStateCodec({ key: randomBytes(32) });
const seal = (what) => states.mint({ ...what, unique: randomBytes(8).toString("hex") });

const field = (name, type) => ({ type: "object", properties: { [name]: { type } }, required: [name] });
const ask = {
    text: (name, message) => inputRequired.elicit({ message, requestedSchema: field(name, "string") }),
    yes: () => inputRequired.elicit({ message: "Go on?", requestedSchema: field("ok", "boolean") }),
    model: (question) =>
        inputRequired.createMessage({
            messages: [{ role: "user", content: { type: "text", text: question } }],
            maxTokens: 100,
        }),
    roots: () => inputRequired.listRoots(),
};

const asked = { user_name: () => ask.text("name", "Who is it?") };

// The tools of the suite that ask for input: nothing is kept between the rounds of a call but what its caller brings back.
const asking = [
    {
        name: "test_input_required_result_elicitation",
        call(_, call) {
            const name = call.accepted("user_name")?.name;
            if (typeof name !== "string") return inputRequired({ inputRequests: { user_name: asked.user_name() } });
            return text(`It is ${name}.`);
        },
    },
    {
        name: "test_input_required_result_sampling",
        call(_, call) {
            const answer = call.responses.capital_question;
            if (!answer) return inputRequired({ inputRequests: { capital_question: ask.model("Which capital?") } });
            return text(`The model says: ${answer.content?.text}`);
        },
    },
    {
        name: "test_input_required_result_list_roots",
        call(_, call) {
            const roots = call.responses.client_roots?.roots;
            if (!Array.isArray(roots)) return inputRequired({ inputRequests: { client_roots: ask.roots() } });
            return text(roots.map((root) => root.uri).join(" "));
        },
    },
    {
        name: "test_input_required_result_request_state",
        async call(_, call) {
            const ok = call.accepted("confirm")?.ok;
            if (ok !== undefined && call.state?.of === "request_state") return text("state-ok");
            const requestState = await seal({ of: "request_state" });
            return inputRequired({ inputRequests: { confirm: ask.yes() }, requestState });
        },
    },
    {
        name: "test_input_required_result_tampered_state",
        async call(_, call) {
            if (call.accepted("confirm") && call.state?.of === "tampered_state") return text("unaltered");
            const requestState = await seal({ of: "tampered_state" });
            return inputRequired({ inputRequests: { confirm: ask.yes() }, requestState });
        },
    },
    {
        name: "test_input_required_result_multiple_inputs",
        async call(_, call) {
            const name = call.accepted("user_name")?.name;
            const { greeting, client_roots } = call.responses;
            if (name && greeting && client_roots) return text(`${greeting.content?.text} ${name}`);
            const inputRequests = {
                user_name: asked.user_name(),
                greeting: ask.model("Greet them."),
                client_roots: ask.roots(),
            };
            return inputRequired({ inputRequests, requestState: await seal({ of: "multiple_inputs" }) });
        },
    },
    {
        name: "test_input_required_result_multi_round",
        async call(_, call) {
            const { round = 0, name } = call.state ?? {};
            if (round === 2) return text(`${name} likes ${call.accepted("step2")?.color}.`);
            const next = { round: round + 1, name: call.accepted("step1")?.name };
            const inputRequests =
                round === 0 ? { step1: ask.text("name", "Who?") } : { step2: ask.text("color", "Which colour?") };
            return inputRequired({ inputRequests, requestState: await seal(next) });
        },
    },
    {
        // Asks for what the client can do, and for nothing else.
        name: "test_input_required_result_capabilities",
        call(_, call) {
            if (Object.keys(call.responses).length > 0) return text("answered");
            const inputRequests = {};
            if (call.can.elicitation) inputRequests.user_name = asked.user_name();
            if (call.can.sampling) inputRequests.greeting = ask.model("Greet them.");
            if (call.can.roots) inputRequests.client_roots = ask.roots();
            return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : text("nothing to ask");
        },
    },
    {
        // Asks whether or not the client can answer: the SDK refuses it for those who cannot.
        name: "test_missing_capability",
        call(_, call) {
            if (call.responses.answer) return text("answered");
            return inputRequired({ inputRequests: { answer: ask.model("Anybody there?") } });
        },
    },
];

function tellOfTools() {
    handler.notify.toolsChanged();
    return text("told");
}

const like = (name) => asking.find((tool) => tool.name === `test_input_required_result_${name}`).call;

const onlyHere = [
    ...asking,
    // The same under the names that the other servers have for it.
    { name: "ask_name", call: like("elicitation") },
    { name: "ask_model", call: like("sampling") },
    {
        name: "test_x_mcp_header",
        inputSchema: {
            type: "object",
            properties: { region: { type: "string", "x-mcp-header": "Region" }, level: { type: "integer" } },
        },
        call: ({ region }) => text(region ?? "no region"),
    },
    { name: "test_streaming_elicitation", call: () => text("Nothing is asked on the stream.") },
    {
        name: "test_logging_tool",
        async call(_, call) {
            await call.log("info", "for those who set a level");
            return text("logged");
        },
    },
    { name: "test_trigger_tool_change", call: tellOfTools },
    { name: "change_the_tools", call: tellOfTools },
    {
        name: "test_trigger_prompt_change",
        call() {
            handler.notify.promptsChanged();
            return text("told");
        },
    },
].map(described);

function callOf(context) {
    const { mcpReq } = context;
    const progressToken = mcpReq._meta?.progressToken;
    return {
        signal: mcpReq.signal,
        responses: mcpReq.inputResponses ?? {},
        accepted: (key) => acceptedContent(mcpReq.inputResponses, key),
        state: mcpReq.requestState(),
        can: mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {},
        header: (name) => context.http?.req?.headers.get(name) ?? undefined,
        log: (level, data) => mcpReq.log(level, data),
        progress: async (progress, total) =>
            progressToken !== undefined &&
            mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total } }),
    };
}

function makeServer() {
    const server = new McpServer(
        { name: "modern-fixture", version: "1" },
        {
            capabilities: {
                tools: { listChanged: true },
                prompts: { listChanged: true },
                resources: { subscribe: true, listChanged: true },
                logging: {},
                completions: {},
            },
            requestState: { verify: states.verify },
        },
    );
    for (const { name, description, annotations, inputSchema, call } of [...tools, ...onlyHere]) {
        const shown = { description, annotations, inputSchema: fromJsonSchema(inputSchema) };
        server.registerTool(name, shown, (given, context) => call(given, callOf(context)));
    }
    const contents = (uri) => {
        const found = read(uri);
        if (!found) throw new ProtocolError(ProtocolErrorCode.InvalidParams, "no such resource", { uri });
        return { contents: [found] };
    };
    for (const { uri, name, mimeType } of resources) {
        server.registerResource(name, uri, { mimeType }, () => contents(uri));
    }
    const { uriTemplate, name, mimeType } = template;
    server.registerResource(name, new ResourceTemplate(uriTemplate, { list: undefined }), { mimeType }, (uri) =>
        contents(uri.toString()),
    );
    for (const { name, description, arguments: names, get } of prompts) {
        if (names.length === 0) {
            server.registerPrompt(name, { description }, () => get({}));
        } else {
            const properties = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
            const argsSchema = fromJsonSchema({ type: "object", properties, required: names });
            server.registerPrompt(name, { description, argsSchema }, (given) => get(given));
        }
    }
    server.registerPrompt("test_input_required_result_prompt", { description: "Asks before it answers" }, (context) => {
        const given = acceptedContent(context.mcpReq.inputResponses, "user_context")?.context;
        if (!given) {
            return inputRequired({ inputRequests: { user_context: ask.text("context", "What is it about?") } });
        }
        return { messages: [{ role: "user", content: { type: "text", text: `About ${given}.` } }] };
    });
    server.server.setRequestHandler("completion/complete", () => ({
        completion: { values: ["one", "two"], total: 2, hasMore: false },
    }));
    return server;
}

const handler = createMcpHandler(makeServer, { legacy: "reject", onerror: (error) => console.error(error) });
const answer = toNodeHandler(handler);

createServer((request, response) => {
    if (!isFromHere(request)) return refuse(response, 403, -32000, "not from here");
    if (new URL(request.url, "http://here").pathname !== "/mcp") return refuse(response, 404, -32000, "not here");
    answer(request, response);
}).listen(Number(process.argv[2]), "127.0.0.1", () => console.log("listening"));
