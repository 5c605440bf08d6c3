// A client on the TypeScript SDK v2, which speaks either era: `legacy` or a modern version. See driver.mjs.

import { Client, StreamableHTTPClientTransport, specTypeSchemas, withInputRequired } from "@modelcontextprotocol/client";
import { Newcomer, ask, drive, model, notified, roots, verbsOf } from "./driver.mjs";

const here = {};

// `elicits` is what the client says that it can show its person; null says nothing of the kind.
function makeClient(era, elicits = {}) {
    const capabilities = { ...(elicits && { elicitation: elicits }), sampling: {}, roots: {} };
    const mode = ["legacy", "auto"].includes(era) ? era : { pin: era };
    const client = new Client({ name: "typescript-v2", version: "1" }, { capabilities, versionNegotiation: { mode } });
    if (elicits) client.setRequestHandler("elicitation/create", (request) => ask(request.params));
    client.setRequestHandler("sampling/createMessage", () => model);
    client.setRequestHandler("roots/list", () => roots);
    client.setNotificationHandler("notifications/tools/list_changed", ({ method }) => notified(method));
    return client;
}

here.call = (given, options) => here.client.callTool(given, options);

async function connect(url, era, options, elicits) {
    here.client = makeClient(era, elicits);
    here.transport = new StreamableHTTPClientTransport(new URL(url), options);
    await here.client.connect(here.transport);
    return {
        protocol: here.client.getNegotiatedProtocolVersion(),
        server: here.client.getServerVersion()?.name ?? null,
        session: here.transport.sessionId ?? null,
    };
}

drive({
    ...verbsOf(here),
    connect: ({ url, token, era, elicits }) =>
        connect(url, era, token && { requestInit: { headers: { authorization: `Bearer ${token}` } } }, elicits),
    // One leg of a call, which its program takes further itself: what the SDK hands it, and what it brings along.
    leg: (params) =>
        here.client.request({ method: "tools/call", params }, withInputRequired(specTypeSchemas.CallToolResult), {
            allowInputRequired: true,
        }),
    async listen() {
        here.subscription = await here.client.listen({ toolsListChanged: true });
        return here.subscription.honoredFilter;
    },
    async leave() {
        await here.subscription.close();
        return here.subscription.closed;
    },
    async meet({ url, era, ...given }) {
        here.newcomer = new Newcomer(given);
        await connect(url, era, { authProvider: here.newcomer }).catch((error) => {
            if (error.constructor.name !== "UnauthorizedError") throw error;
        });
        return { sent_to: here.newcomer.sentTo, found: here.newcomer.found };
    },
    async come_in({ url, era, code, iss }) {
        await here.transport.finishAuth(new URLSearchParams({ code, iss }));
        return connect(url, era, { authProvider: here.newcomer });
    },
});
