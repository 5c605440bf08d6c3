// How a test drives a client: a line of JSON says what to do, a line says how it ended, and lines between tell what came
// while it was done. Several can be under way at once. What the person is asked is told as well, once a test has said what
// they answer. It ends with its input.

import { createInterface } from "node:readline";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

export const notified = (method) => say({ notified: method });

export function drive(verbs) {
    createInterface({ input: process.stdin })
        .on("line", async (line) => {
            const { id, verb, given } = JSON.parse(line);
            try {
                const result = await verbs[verb](given, (event) => say({ id, event }), id);
                say({ id, result: result ?? null });
            } catch (error) {
                const { code = null, status = null, data = null, message } = error;
                // What the SDK itself reads in an error that wants pages opened.
                const elicitations = error.elicitations ?? null;
                say({ id, fault: { kind: error.constructor.name, code, status, message, data, elicitations } });
            }
        })
        .on("close", () => process.exit(0));
}

// A person who agrees to everything unless a test says what they answer, and a model that always says the same.
let answer = null;
export function ask(params) {
    if (answer === null) return agree(params);
    say({ asked: params });
    return answer;
}
function agree({ requestedSchema }) {
    const answer = { string: "Ada", boolean: true, integer: 1, number: 1, array: [] };
    const fields = Object.entries(requestedSchema.properties);
    const content = Object.fromEntries(fields.map(([name, { type }]) => [name, answer[type]]));
    return { action: "accept", content };
}
export const model = { role: "assistant", model: "none", content: { type: "text", text: "what the model says" } };
export const roots = { roots: [{ uri: "file:///work", name: "work" }] };

export const named = (things) => things.map((thing) => thing.name);

// What both versions of the SDK do in the same way. `here` holds the client and its transport once it is connected.
export function verbsOf(here) {
    const aborts = new Map();
    return {
        answer: async (given) => void (answer = given),
        list_tools: async () => (await here.client.listTools()).tools,
        list_prompts: async () => named((await here.client.listPrompts()).prompts),
        list_resources: async () => (await here.client.listResources()).resources.map((resource) => resource.uri),
        list_templates: async () =>
            (await here.client.listResourceTemplates()).resourceTemplates.map((template) => template.uriTemplate),
        read_resource: async (given) => (await here.client.readResource(given)).contents,
        get_prompt: async (given) => (await here.client.getPrompt(given)).messages,
        call_tool(given, tell, id) {
            const abort = new AbortController();
            aborts.set(id, abort);
            const onprogress = ({ progress }) => tell({ progress });
            return here.call(given, { onprogress, signal: abort.signal });
        },
        async abort({ call }) {
            aborts.get(call).abort("the person gave up");
        },
        async end() {
            await here.transport.terminateSession?.();
            await here.client.close();
        },
    };
}

// For a client that begins without a token: what it found out, and where it would send the person.
export class Newcomer {
    constructor({ client_id, redirect_uri }) {
        this.redirectUrl = redirect_uri;
        this.clientMetadata = { redirect_uris: [redirect_uri], client_name: "a standard client" };
        this.known = { client_id };
    }
    clientInformation() {
        return this.known;
    }
    saveDiscoveryState(found) {
        this.found = found;
    }
    discoveryState() {
        return this.found;
    }
    tokens() {
        return this.saved;
    }
    saveTokens(tokens) {
        this.saved = tokens;
    }
    redirectToAuthorization(url) {
        this.sentTo = url.toString();
    }
    saveCodeVerifier(verifier) {
        this.verifier = verifier;
    }
    codeVerifier() {
        return this.verifier;
    }
}
