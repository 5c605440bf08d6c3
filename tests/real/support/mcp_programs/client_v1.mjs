// A client on the TypeScript SDK v1, which speaks the legacy eras. See driver.mjs.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import * as mcp from "@modelcontextprotocol/sdk/types.js";
import { Newcomer, ask, drive, model, notified, roots, verbsOf } from "./driver.mjs";

const here = {};

// `elicits` is what the client says that it can show its person; null says nothing of the kind.
function makeClient(elicits = {}) {
    const capabilities = { ...(elicits && { elicitation: elicits }), sampling: {}, roots: {} };
    const client = new Client({ name: "typescript-v1", version: "1" }, { capabilities });
    if (elicits) client.setRequestHandler(mcp.ElicitRequestSchema, (request) => ask(request.params));
    client.setRequestHandler(mcp.CreateMessageRequestSchema, () => model);
    client.setRequestHandler(mcp.ListRootsRequestSchema, () => roots);
    client.setNotificationHandler(mcp.ToolListChangedNotificationSchema, ({ method }) => notified(method));
    return client;
}

here.call = (given, options) => here.client.callTool(given, undefined, options);

async function connect(url, options, elicits) {
    here.client = makeClient(elicits);
    here.transport = new StreamableHTTPClientTransport(new URL(url), options);
    await here.client.connect(here.transport);
    return {
        protocol: here.transport.protocolVersion,
        server: here.client.getServerVersion().name,
        session: here.transport.sessionId ?? null,
    };
}

drive({
    ...verbsOf(here),
    connect: ({ url, token, elicits }) =>
        connect(url, token && { requestInit: { headers: { authorization: `Bearer ${token}` } } }, elicits),
    async meet({ url, ...given }) {
        here.newcomer = new Newcomer(given);
        await connect(url, { authProvider: here.newcomer }).catch((error) => {
            if (error.constructor.name !== "UnauthorizedError") throw error;
        });
        return { sent_to: here.newcomer.sentTo, found: here.newcomer.found };
    },
    async come_in({ url, code }) {
        await here.transport.finishAuth(code);
        return connect(url, { authProvider: here.newcomer });
    },
});
