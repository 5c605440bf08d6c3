// A fixture server of the legacy eras on the TypeScript SDK v1: `initialize`, sessions, streams that can be taken up again,
// and requests to the client. Its one argument is the port.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import * as mcp from "@modelcontextprotocol/sdk/types.js";
import { described, pause, prompts, read, resources, template, text, tools } from "./catalogue.mjs";
import { isFromHere, readJson, refuse } from "./http.mjs";

// Time after which a client whose stream was closed comes back. Short, since tests wait for it.
const RETRY_MILLISECONDS = 200;

const answered = (answer) => text(JSON.stringify(answer));
const form = (properties, required = []) => ({ type: "object", properties, required });
const named = (const_, title) => ({ const: const_, title });

// Each kind of field with a default, and each way to write a choice: the suite reads them out of the request.
const defaults = form({
    name: { type: "string", default: "John Doe" },
    age: { type: "integer", default: 30 },
    score: { type: "number", default: 95.5 },
    status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
    verified: { type: "boolean", default: true },
});
const choices = form({
    untitledSingle: { type: "string", enum: ["red", "green"] },
    titledSingle: { type: "string", oneOf: [named("r", "Red"), named("g", "Green")] },
    legacyEnum: { type: "string", enum: ["r", "g"], enumNames: ["Red", "Green"] },
    untitledMulti: { type: "array", items: { type: "string", enum: ["red", "green"] } },
    titledMulti: { type: "array", items: { anyOf: [named("r", "Red"), named("g", "Green")] } },
});
const elicits = (message, requestedSchema) => async (_, call) =>
    answered(await call.elicit({ message, requestedSchema }));

const onlyHere = [
    {
        name: "test_tool_with_logging",
        async call(_, call) {
            for (const data of ["beginning", "going on", "ending"]) {
                await call.log("info", data);
                await pause(20);
            }
            return text("All three were logged.");
        },
    },
    {
        name: "test_sampling",
        inputSchema: form({ prompt: { type: "string" } }, ["prompt"]),
        async call({ prompt }, call) {
            const messages = [{ role: "user", content: { type: "text", text: prompt } }];
            return answered(await call.sample({ messages, maxTokens: 100 }));
        },
    },
    {
        name: "test_elicitation",
        inputSchema: form({ message: { type: "string" } }, ["message"]),
        call: ({ message }, call) =>
            elicits(message, form({ response: { type: "string" } }, ["response"]))(undefined, call),
    },
    {
        name: "ask_name",
        async call(_, call) {
            const requestedSchema = form({ name: { type: "string" } }, ["name"]);
            const { content } = await call.elicit({ message: "Who is it?", requestedSchema });
            return text(`It is ${content?.name}.`);
        },
    },
    {
        name: "ask_model",
        async call(_, call) {
            const messages = [{ role: "user", content: { type: "text", text: "Which capital?" } }];
            const { content } = await call.sample({ messages, maxTokens: 100 });
            return text(`The model says: ${content.text}`);
        },
    },
    { name: "test_elicitation_sep1034_defaults", call: elicits("Is this right?", defaults) },
    { name: "test_elicitation_sep1330_enums", call: elicits("Which one?", choices) },
    {
        // Hangs up on its own call; the client comes back for the rest with `Last-Event-ID`.
        name: "test_reconnection",
        async call(_, call) {
            call.hangUp();
            await pause(RETRY_MILLISECONDS / 2);
            return text("The rest of it.");
        },
    },
    {
        // What the stream that GET opens is for.
        name: "change_the_tools",
        async call(_, call) {
            await call.server.sendToolListChanged();
            return text("told");
        },
    },
].map(described);
const allTools = [...tools, ...onlyHere];

function makeServer() {
    const server = new Server(
        { name: "legacy-fixture", version: "1" },
        {
            capabilities: {
                tools: { listChanged: true },
                resources: { subscribe: true },
                prompts: {},
                logging: {},
                completions: {},
            },
        },
    );
    const unknown = (what) => new mcp.McpError(mcp.ErrorCode.InvalidParams, `unknown ${what}`);
    server.setRequestHandler(mcp.ListToolsRequestSchema, () => ({
        tools: allTools.map(({ call, ...shown }) => shown),
    }));
    server.setRequestHandler(mcp.CallToolRequestSchema, (request, extra) => {
        const tool = allTools.find((tool) => tool.name === request.params.name);
        if (!tool) throw unknown("tool");
        const progressToken = request.params._meta?.progressToken;
        const notify = (method, params) => extra.sendNotification({ method, params });
        return tool.call(request.params.arguments ?? {}, {
            server,
            signal: extra.signal,
            header: (name) => extra.requestInfo?.headers[name],
            progress: async (progress, total) =>
                progressToken !== undefined && notify("notifications/progress", { progressToken, progress, total }),
            log: (level, data) => notify("notifications/message", { level, data }),
            sample: (params) =>
                extra.sendRequest({ method: "sampling/createMessage", params }, mcp.CreateMessageResultSchema),
            elicit: (params) => extra.sendRequest({ method: "elicitation/create", params }, mcp.ElicitResultSchema),
            hangUp: () => extra.closeSSEStream?.(),
        });
    });
    server.setRequestHandler(mcp.ListResourcesRequestSchema, () => ({
        resources: resources.map(({ read, ...shown }) => shown),
    }));
    server.setRequestHandler(mcp.ListResourceTemplatesRequestSchema, () => {
        const { read, ...shown } = template;
        return { resourceTemplates: [shown] };
    });
    server.setRequestHandler(mcp.ReadResourceRequestSchema, (request) => {
        const found = read(request.params.uri);
        // -32002: "resource not found" in these eras.
        if (!found) throw new mcp.McpError(-32002, "no such resource", { uri: request.params.uri });
        return { contents: [found] };
    });
    server.setRequestHandler(mcp.SubscribeRequestSchema, () => ({}));
    server.setRequestHandler(mcp.UnsubscribeRequestSchema, () => ({}));
    server.setRequestHandler(mcp.ListPromptsRequestSchema, () => ({
        prompts: prompts.map(({ get, arguments: names, ...shown }) => ({
            ...shown,
            arguments: names.map((name) => ({ name, required: true })),
        })),
    }));
    server.setRequestHandler(mcp.GetPromptRequestSchema, (request) => {
        const prompt = prompts.find((prompt) => prompt.name === request.params.name);
        if (!prompt) throw unknown("prompt");
        return prompt.get(request.params.arguments ?? {});
    });
    server.setRequestHandler(mcp.CompleteRequestSchema, () => ({ completion: { values: ["one", "two"], total: 2 } }));
    return server;
}

// Events in the order in which they were sent, for those who come back.
function eventStore() {
    const events = [];
    return {
        async storeEvent(stream, message) {
            events.push({ stream, message });
            return String(events.length - 1);
        },
        async replayEventsAfter(lastId, { send }) {
            const last = Number(lastId);
            const { stream } = events[last];
            for (let id = last + 1; id < events.length; id += 1) {
                // The first event of a stream has an id and no message.
                const { stream: of, message } = events[id];
                if (of === stream && message.jsonrpc) await send(String(id), message);
            }
            return stream;
        },
    };
}

const sessions = new Map();

async function open() {
    const server = makeServer();
    const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: eventStore(),
        retryInterval: RETRY_MILLISECONDS,
        onsessioninitialized: (id) => sessions.set(id, transport),
    });
    transport.onclose = () => sessions.delete(transport.sessionId);
    await server.connect(transport);
    return transport;
}

async function answer(request, response) {
    if (!isFromHere(request)) return refuse(response, 403, -32000, "not from here");
    if (new URL(request.url, "http://here").pathname !== "/mcp") return refuse(response, 404, -32000, "not here");
    const id = request.headers["mcp-session-id"];
    const known = sessions.get(id);
    if (id !== undefined && !known) return refuse(response, 404, -32001, "no such session");
    const body = request.method === "POST" ? await readJson(request) : undefined;
    if (!known && !mcp.isInitializeRequest(body)) return refuse(response, 400, -32000, "a session is needed");
    await (known ?? (await open())).handleRequest(request, response, body);
}

createServer((request, response) => {
    answer(request, response).catch((error) => {
        console.error(error);
        if (response.headersSent) response.destroy();
        else refuse(response, 500, -32603, "internal error");
    });
}).listen(Number(process.argv[2]), "127.0.0.1", () => console.log("listening"));
