// What both fixture servers do with HTTP themselves.

// Names that a browser on this machine reaches them by. Another in `Host` or `Origin` is a page that rebinds its name.
const HERE = new Set(["127.0.0.1", "localhost", "[::1]"]);

export function isFromHere(request) {
    const { host, origin } = request.headers;
    const isHere = (url) => URL.canParse(url) && HERE.has(new URL(url).hostname);
    return isHere(`http://${host}`) && (origin === undefined || isHere(origin));
}

export async function readJson(request) {
    const parts = [];
    for await (const part of request) parts.push(part);
    return JSON.parse(Buffer.concat(parts).toString());
}

export function refuse(response, status, code, message) {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code, message } }));
}
