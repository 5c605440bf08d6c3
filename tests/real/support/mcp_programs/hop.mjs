// A hop that gives every request a token, for clients that send none: `hop.mjs PORT ORIGIN`, the token in the environment.
// Whatever comes is passed on as it comes, piece by piece, `Host` included; and who hangs up is hung up on.

import { Agent, createServer, request as ask } from "node:http";

const [port, origin] = process.argv.slice(2);
const { hostname, port: to } = new URL(origin);
const authorization = `Bearer ${process.env.TOKEN}`;
// A connection for each request: nothing of an aborted one can meet the next.
const agent = new Agent({ keepAlive: false });

createServer((incoming, outgoing) => {
    const headers = { ...incoming.headers, authorization };
    const onward = ask({ agent, hostname, port: to, method: incoming.method, path: incoming.url, headers });
    onward.on("response", (answer) => {
        outgoing.writeHead(answer.statusCode, answer.rawHeaders);
        outgoing.flushHeaders();
        answer.pipe(outgoing);
        answer.on("error", () => outgoing.destroy());
    });
    onward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => onward.destroy());
    incoming.pipe(onward);
}).listen(Number(port), "127.0.0.1", () => console.log("listening"));
