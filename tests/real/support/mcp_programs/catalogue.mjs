// What the fixture servers of both eras offer: the tools, resources and prompts that the conformance suite calls by name,
// and those of our own that show a person, a stream and a cancellation. The suite prescribes names and shapes; the rest
// is ours. Each tool gets its arguments and a `call`, which the servers make from what their SDK hands them.

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII=";
// A WAV file with a header and no samples.
const SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

// Longest wait for another call of the same visit. It comes in milliseconds, so only a stream that is held back gets there.
const WAIT_MILLISECONDS = 60_000;

export const nothing = { type: "object", properties: {} };
export const text = (text) => ({ content: [{ type: "text", text }] });
export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const strings = (...names) => ({
    type: "object",
    properties: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
    required: names,
});

const image = { type: "image", data: PIXEL, mimeType: "image/png" };
const audio = { type: "audio", data: SILENCE, mimeType: "audio/wav" };
const embedded = (uri, mimeType, text) => ({ type: "resource", resource: { uri, mimeType, text } });

// The suite compares this one word for word: it looks for keywords of JSON Schema 2020-12 that are lost on the way.
const everyKeyword = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    $defs: {
        address: {
            $anchor: "addressDef",
            type: "object",
            properties: { street: { type: "string" }, city: { type: "string" } },
        },
    },
    properties: {
        name: { type: "string" },
        address: { $ref: "#/$defs/address" },
        contactMethod: { type: "string", enum: ["phone", "email"] },
        phone: { type: "string" },
        email: { type: "string" },
    },
    allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
    if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
    then: { required: ["phone"] },
    else: { required: ["email"] },
    additionalProperties: false,
};

const contents = [
    { name: "test_simple_text", call: () => text("A line of text.") },
    { name: "test_image_content", call: () => ({ content: [image] }) },
    { name: "test_audio_content", call: () => ({ content: [audio] }) },
    {
        name: "test_embedded_resource",
        call: () => ({ content: [embedded("test://embedded-resource", "text/plain", "A resource within a result.")] }),
    },
    {
        name: "test_multiple_content_types",
        call: () => ({
            content: [
                { type: "text", text: "One of each." },
                image,
                embedded("test://mixed-content-resource", "application/json", '{"one":1}'),
            ],
        }),
    },
    { name: "json_schema_2020_12_tool", inputSchema: everyKeyword, call: (given) => text(JSON.stringify(given)) },
    {
        name: "test_error_handling",
        call: () => ({ isError: true, content: [{ type: "text", text: "This tool fails, as it should." }] }),
    },
    {
        name: "test_tool_with_progress",
        async call(_, call) {
            for (const done of [0, 50, 100]) {
                await call.progress(done, 100);
                await pause(20);
            }
            return text("All three were told.");
        },
    },
];

// What a visit left behind, by the key that the visitor chose.
const steps = new Map();
const left = new Map();

// A promise that another call fulfils.
function meeting(of, key) {
    if (!of.has(key)) {
        const made = {};
        made.reached = new Promise((resolve) => (made.reach = resolve));
        of.set(key, made);
    }
    return of.get(key);
}

const within = (promise, what) =>
    Promise.race([
        promise,
        pause(WAIT_MILLISECONDS).then(() => {
            throw new Error(`${what} did not come`);
        }),
    ]);

// The claims of a token, which nobody here checks: the tests do that with the issuer's keys.
function claims(authorization) {
    const token = (authorization ?? "").replace(/^Bearer /, "");
    const payload = token.split(".")[1];
    return payload ? JSON.parse(Buffer.from(payload, "base64url").toString()) : null;
}

const ours = [
    {
        name: "whoami",
        annotations: { readOnlyHint: true },
        // The token itself goes along, so that a test can check it. It is good for this server only.
        call: (_, call) => {
            const authorization = call.header("authorization");
            return text(JSON.stringify({ claims: claims(authorization), authorization: authorization ?? null }));
        },
    },
    {
        // Goes on only when whoever sees its progress says so in another call: a stream that is held back ends in an error.
        name: "in_steps",
        inputSchema: strings("key"),
        async call({ key }, call) {
            for (const step of [1, 2, 3]) {
                await call.progress(step, 3);
                await within(meeting(steps, `${key} ${step}`).reached, `step ${step}`);
            }
            return text("three steps");
        },
    },
    {
        name: "next_step",
        inputSchema: strings("key", "step"),
        call({ key, step }) {
            meeting(steps, `${key} ${step}`).reach();
            return text(`step ${step}`);
        },
    },
    {
        name: "linger",
        inputSchema: strings("key"),
        async call({ key }, call) {
            call.signal.addEventListener("abort", () => meeting(left, key).reach());
            await call.progress(1, 2);
            await within(meeting(left, key).reached, "the end of it");
            return text("cancelled");
        },
    },
    {
        name: "was_left",
        inputSchema: strings("key"),
        async call({ key }) {
            await within(meeting(left, key).reached, "the end of it");
            return text("cancelled");
        },
    },
    // Policy lets nobody call it.
    { name: "delete_everything", annotations: { destructiveHint: true }, call: () => text("gone") },
];

const described = (tool) => ({ description: `Fixture tool ${tool.name}`, inputSchema: nothing, ...tool });
export const tools = [...contents, ...ours].map(described);
export { described };

export const resources = [
    {
        uri: "test://static-text",
        name: "static-text",
        mimeType: "text/plain",
        read: () => ({ text: "The same text every time." }),
    },
    { uri: "test://static-binary", name: "static-binary", mimeType: "image/png", read: () => ({ blob: PIXEL }) },
    { uri: "test://watched-resource", name: "watched-resource", mimeType: "text/plain", read: () => ({ text: "Watched." }) },
];
export const template = {
    uriTemplate: "test://template/{id}/data",
    name: "template",
    mimeType: "application/json",
    read: (id) => ({ text: JSON.stringify({ id }) }),
};

// The contents of a resource, or nothing.
export function read(uri) {
    const found = resources.find((resource) => resource.uri === uri);
    if (found) return { uri, mimeType: found.mimeType, ...found.read() };
    const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
    return id && { uri, mimeType: template.mimeType, ...template.read(id) };
}

const says = (...content) => ({ messages: content.map((content) => ({ role: "user", content })) });
const sentence = (text) => ({ type: "text", text });

export const prompts = [
    { name: "test_simple_prompt", get: () => says(sentence("Say something simple.")) },
    {
        name: "test_prompt_with_arguments",
        arguments: ["arg1", "arg2"],
        get: ({ arg1, arg2 }) => says(sentence(`First ${arg1}, then ${arg2}.`)),
    },
    {
        name: "test_prompt_with_embedded_resource",
        arguments: ["resourceUri"],
        get: ({ resourceUri }) =>
            says(embedded(resourceUri, "text/plain", "What the prompt is about."), sentence("Sum it up.")),
    },
    { name: "test_prompt_with_image", get: () => says(image, sentence("What is in the picture?")) },
].map((prompt) => ({ description: `Fixture prompt ${prompt.name}`, arguments: [], ...prompt }));
