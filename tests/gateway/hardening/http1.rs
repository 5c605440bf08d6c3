//! HTTP/1: what is written onto a connection, what comes back, and what the connector behind has seen of it.

use super::answers;
use super::{CUT, HardenedBed};
use crate::bed::outcome;

use tokio::io::AsyncWriteExt as _;

/// What is written onto a connection. Behind it comes a plain request, so that it shows whether the connection is still open,
/// and whether both sides agree where requests end.
struct Payload {
    name: &'static str,
    bytes: Vec<u8>,
    /// The statuses of the answers.
    answers: Vec<u16>,
    /// Whether the request behind it is answered as well.
    stays_open: bool,
    /// The requests that the connector sees.
    seen: Vec<String>,
}

/// In the bytes of a payload: a header line with Ada's token.
const ADA: &str = "{ada}";
/// The same with Bob's.
const BOB: &str = "{bob}";
/// A whole request that is hidden in another one. It is as good as any: if one reader takes it for a request, it is served.
const HIDDEN: &str = "{hidden}";
/// How long that is, as the size of a chunk.
const HIDDEN_SIZE: &str = "{hidden-size}";
/// Longest payload that is written byte by byte; a longer one, in pieces of a length that divides nothing.
const BYTE_BY_BYTE_MAX: usize = 4_096;
const PIECE_BYTES: usize = 1_021;

impl Payload {
    fn new(
        name: &'static str,
        bytes: impl AsRef<[u8]>,
        answers: &[u16],
        stays_open: bool,
        seen: &[String],
    ) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Self { name, bytes, answers: answers.to_vec(), stays_open, seen: seen.to_vec() }
    }

    async fn check(&self, bed: &HardenedBed) -> Result<(), String> {
        let mut bytes = fill(&self.bytes, bed);
        bytes.extend(fill(b"GET /mail/behind HTTP/1.1\r\nhost: gw\r\n{ada}connection: close\r\n\r\n", bed));
        let mut expected = (self.answers.clone(), self.seen.clone());
        if self.stays_open {
            expected.0.push(200);
            expected.1.push(get("/behind"));
        }
        let size = if bytes.len() > BYTE_BY_BYTE_MAX { PIECE_BYTES } else { 1 };
        for size in [bytes.len(), size] {
            let answer = bed.exchange(&bytes, size).await;
            bed.assert_idle(self.name).await;
            // What breaks off may have gone on already, as far as it was good. Whole it must never be.
            let seen = bed.seen().into_iter().filter(|seen| !seen.ends_with(CUT)).collect::<Vec<_>>();
            let answers = answers::read(&answer)?;
            bed.hear_of(&answers);
            let came = (answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), seen);
            if came != expected {
                return Err(format!("in pieces of {size}: {came:#?}, and not {expected:#?}"));
            }
        }
        Ok(())
    }
}

/// Puts what a bed has into the places that a payload leaves for it.
fn fill(template: &[u8], bed: &HardenedBed) -> Vec<u8> {
    let ada = format!("authorization: Bearer {}\r\n", bed.ada);
    let bob = format!("authorization: Bearer {}\r\n", bed.bob);
    let hidden = format!("GET /mail/hidden HTTP/1.1\r\nhost: gw\r\n{bob}\r\n");
    let hidden_size = format!("{:x}", hidden.len());
    let mut filled = Vec::with_capacity(template.len() + 2_048);
    let mut rest = template;
    'rest: while let Some((first, others)) = rest.split_first() {
        for (place, text) in [(HIDDEN, &hidden), (HIDDEN_SIZE, &hidden_size), (ADA, &ada), (BOB, &bob)] {
            if let Some(behind) = rest.strip_prefix(place.as_bytes()) {
                filled.extend_from_slice(text.as_bytes());
                rest = behind;
                continue 'rest;
            }
        }
        filled.push(*first);
        rest = others;
    }
    filled
}

/// A GET as the connector sees it.
pub fn get(target: &str) -> String {
    onward("ada", &format!("GET {target}"), "", "", "")
}

/// A request of `who` as the connector sees it, with what was passed on before our own header lines, and what says how long the body is
/// behind them.
fn onward(who: &str, line: &str, passed: &str, framing: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nhost: {{upstream}}\r\n{framing}{passed}via: 1.1 obo-gateway\r\n\
         obo-request-id: {{id}}\r\nauthorization: Bearer {{{who}}}\r\n\r\n{body}"
    )
}

/// A POST as the connector sees it, with a body of a known length.
fn post(body: &str) -> String {
    onward("ada", "POST /echo", "", &format!("content-length: {}\r\n", body.len()), body)
}

/// The same, with a body in chunks.
fn chunked(body: &str) -> String {
    onward("ada", "POST /echo", "", "transfer-encoding: chunked\r\n", body)
}

/// Is refused, and the connection is closed.
fn refused(name: &'static str, bytes: impl AsRef<[u8]>, status: u16) -> Payload {
    Payload::new(name, bytes, &[status], false, &[])
}

/// Is refused, and the connection goes on.
fn refused_alone(name: &'static str, bytes: impl AsRef<[u8]>, status: u16) -> Payload {
    Payload::new(name, bytes, &[status], true, &[])
}

/// Is served as this one request, and the connection goes on.
fn served(name: &'static str, bytes: impl AsRef<[u8]>, seen: String) -> Payload {
    Payload::new(name, bytes, &[200], true, &[seen])
}

/// A GET with these header lines beside.
fn with(lines: &str) -> String {
    format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\n{ADA}{lines}\r\n")
}

/// A request whose first line this is.
fn line(line: &str) -> String {
    format!("{line}\r\nhost: gw\r\n{ADA}\r\n")
}

/// A POST with these header lines, and this after them.
fn framed(lines: &str, rest: &str) -> String {
    format!("POST /mail/echo HTTP/1.1\r\nhost: gw\r\n{ADA}{lines}\r\n{rest}")
}

/// A POST in chunks.
fn in_chunks(rest: &str) -> String {
    framed("transfer-encoding: chunked\r\n", rest)
}

/// Where a body ends: by length, by chunks, and by what is between the two.
fn framings() -> Vec<Payload> {
    let both = format!("0\r\n\r\n{HIDDEN}");
    let once = |name, lines: &str| {
        // RFC 9112 section 6.1: chunked counts, and the connection is not used again.
        Payload::new(name, framed(lines, &both), &[200], false, &[chunked("")])
    };
    let coded = |name, lines: &str| refused(name, framed(lines, &both), 400);
    let long = |name, lines: &str| refused(name, framed(lines, "abc"), 400);
    vec![
        served("a length", framed("content-length: 3\r\n", "abc"), post("abc")),
        served("chunks", in_chunks("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), chunked("abcde")),
        // Both.
        once("a length, then chunked", "content-length: 6\r\ntransfer-encoding: chunked\r\n"),
        once("chunked, then a length", "transfer-encoding: chunked\r\ncontent-length: 6\r\n"),
        once("chunked, then a length that is none", "transfer-encoding: chunked\r\ncontent-length: abc\r\n"),
        // Codings.
        coded("chunked, and another coding", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        coded("chunked not last", "transfer-encoding: chunked, identity\r\n"),
        coded("another coding first", "transfer-encoding: identity, chunked\r\n"),
        coded("gzip, chunked", "transfer-encoding: gzip, chunked\r\n"),
        coded("two lines of codings", "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n"),
        coded("chunked twice", "transfer-encoding: chunked, chunked\r\n"),
        coded("chunked in two lines", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        coded("xchunked", "transfer-encoding: xchunked\r\n"),
        coded("chunked with a parameter", "transfer-encoding: chunked;q=1\r\n"),
        coded("chunked in quotes", "transfer-encoding: \"chunked\"\r\n"),
        coded("chunked with an empty member", "transfer-encoding: chunked,\r\n"),
        coded("chunked with a vertical tab", "transfer-encoding: \x0bchunked\r\n"),
        coded("an empty coding", "transfer-encoding:\r\n"),
        coded("chunked and folded", "transfer-encoding:\r\n chunked\r\n"),
        coded("a space before the colon", "transfer-encoding : chunked\r\n"),
        coded("a tab before the colon", "transfer-encoding\t: chunked\r\n"),
        coded("a space before the name", " transfer-encoding: chunked\r\n"),
        served("chunked in capitals", framed("TRANSFER-ENCODING: CHUNKED\r\n", "0\r\n\r\n"), chunked("")),
        // An underscore makes it the header of nobody: the length counts.
        served(
            "a twin with an underscore",
            framed("transfer_encoding: chunked\r\ncontent-length: 3\r\n", "abc"),
            post("abc"),
        ),
        refused(
            "chunks over HTTP/1.0",
            format!(
                "POST /mail/echo HTTP/1.0\r\nhost: gw\r\n{ADA}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        // Lengths.
        served(
            "the same length twice",
            framed("content-length: 3\r\ncontent-length: 3\r\n", "abc"),
            post("abc"),
        ),
        long("two lengths", "content-length: 3\r\ncontent-length: 4\r\n"),
        long("a list of lengths", "content-length: 3, 3\r\n"),
        long("a length with a plus", "content-length: +3\r\n"),
        long("a length with a minus", "content-length: -3\r\n"),
        long("a length in hexadecimal", "content-length: 0x3\r\n"),
        long("a length with a fraction", "content-length: 3.0\r\n"),
        long("a length with an underscore", "content-length: 0_3\r\n"),
        long("a length with a parameter", "content-length: 3;\r\n"),
        long("a length in other digits", "content-length: ３\r\n"),
        long("an empty length", "content-length:\r\n"),
        long("a length beyond 64 bits", "content-length: 18446744073709551616\r\n"),
        refused("a length of 64 bits", framed("content-length: 18446744073709551615\r\n", "abc"), 431),
        // GET with a body: what is in it is no request.
        served(
            "a GET with a body",
            format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\n{ADA}content-length: 5\r\n\r\nGET /"),
            onward("ada", "GET /me", "", "content-length: 5\r\n", "GET /"),
        ),
    ]
}

/// Chunks: their sizes, extensions, ends and trailers.
fn chunks() -> Vec<Payload> {
    let broken = |name, rest: &str| refused(name, in_chunks(rest), 400);
    vec![
        broken("a size with a plus", "+3\r\nabc\r\n0\r\n\r\n"),
        broken("a size with a minus", "-3\r\nabc\r\n0\r\n\r\n"),
        broken("a size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        broken("a size behind a space", " 3\r\nabc\r\n0\r\n\r\n"),
        broken("a size with an underscore", "0_3\r\nabc\r\n0\r\n\r\n"),
        broken("a size that is none", "g\r\nabc\r\n0\r\n\r\n"),
        broken("no size", "\r\nabc\r\n0\r\n\r\n"),
        broken("a size beyond 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        broken("a size with a line feed alone", "3\nabc\r\n0\r\n\r\n"),
        broken("a size with a carriage return alone", "3\rabc\r\n0\r\n\r\n"),
        broken("an extension with a line feed", &format!("3;\nabc\r\n0\r\n\r\n{HIDDEN}")),
        broken("an extension with a carriage return", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        broken("more in a chunk than it says", "3\r\nabcd\r\n0\r\n\r\n"),
        broken("a chunk that ends with a line feed alone", "3\r\nabc\n0\r\n\r\n"),
        broken("a last chunk that ends with line feeds alone", "3\r\nabc\r\n0\n\n"),
        broken("a trailer without a colon", "3\r\nabc\r\n0\r\nx\r\n\r\n"),
        broken("a trailer with a NUL", "3\r\nabc\r\n0\r\nx: \0\r\n\r\n"),
        broken("too many trailers", &format!("0\r\n{}\r\n", "x: y\r\n".repeat(2_000))),
        served("an extension", in_chunks("3;a=b\r\nabc\r\n0\r\n\r\n"), chunked("abc")),
        served("a size with zeros before it", in_chunks("0003\r\nabc\r\n000\r\n\r\n"), chunked("abc")),
        // Trailers are no headers, and go no further.
        served(
            "trailers that would be headers",
            in_chunks(&format!("3\r\nabc\r\n0\r\n{BOB}content-length: 99\r\nx: canary\r\n\r\n")),
            chunked("abc"),
        ),
        broken("an extension of 20 kB", &format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(20_000))),
    ]
}

/// Heads that are none, or that two readers could take differently.
fn heads() -> Vec<Payload> {
    vec![
        refused("a folded header", with("x: a\r\n b\r\n"), 400),
        refused("a header that begins folded", with("x:\r\n\tb\r\n"), 400),
        refused(
            "a space before the first header",
            format!("GET /mail/me HTTP/1.1\r\n host: gw\r\n{ADA}\r\n"),
            400,
        ),
        refused("a space before a colon", with("x : y\r\n"), 400),
        refused("no colon", with("xy\r\n"), 400),
        refused("no name", with(": x\r\n"), 400),
        refused("a name with a space", with("x y: z\r\n"), 400),
        refused("a name with a bracket", with("x(: z\r\n"), 400),
        refused("a name with a NUL", with("x\0: z\r\n"), 400),
        refused("a name beyond ASCII", with("é: z\r\n"), 400),
        refused("a value with a NUL", with("x: a\0b\r\n"), 400),
        refused("a value with a bell", with("x: a\x07b\r\n"), 400),
        refused("a value with a DEL", with("x: a\x7fb\r\n"), 400),
        refused("a value with a carriage return", with("x: a\rhost: evil\r\n"), 400),
        served("a value beyond ASCII, of a header that nobody passes on", with("x: é\r\n"), get("/me")),
        // RFC 9112 section 2.2 lets a line end with LF alone. Nothing of how it was written goes on.
        served("line feeds alone", format!("GET /mail/me HTTP/1.1\nhost: gw\n{ADA}\n"), get("/me")),
        served("blank lines before the request", format!("\r\n\r\n{}", with("")), get("/me")),
        refused("two spaces in the first line", line("GET  /mail/me HTTP/1.1"), 400),
        refused("a tab in the first line", line("GET\t/mail/me HTTP/1.1"), 400),
        refused("a space behind the version", line("GET /mail/me HTTP/1.1 "), 400),
        refused("a space in the target", line("GET /mail/m e HTTP/1.1"), 400),
        refused("a NUL in the target", line("GET /mail/m\0e HTTP/1.1"), 400),
        refused("no version", line("GET /mail/me"), 400),
        refused("a version of its own", line("GET /mail/me HTTP/1.2"), 400),
        refused("HTTP/2.0 in words", line("GET /mail/me HTTP/2.0"), 400),
        refused("HTTP/0.9", "GET /mail/me\r\n\r\n", 400),
        refused("a version in small letters", line("GET /mail/me http/1.1"), 400),
        refused("a preface that is none", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 400),
        refused("a method with a NUL", line("G\0T /mail/me HTTP/1.1"), 400),
        refused("TLS on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(4), 400),
        refused_alone("a method in small letters", line("get /mail/me HTTP/1.1"), 501),
        refused_alone("a method of our own", line("SMUGGLE /mail/me HTTP/1.1"), 501),
        refused_alone("TRACE", line("TRACE /mail/me HTTP/1.1"), 501),
    ]
}

/// Targets and hosts.
fn targets() -> Vec<Payload> {
    let host = |host: &str| format!("GET /mail/me HTTP/1.1\r\n{host}{ADA}\r\n");
    let absolute = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: gw\r\n{ADA}\r\n");
    vec![
        served("an absolute target", absolute("http://gw/mail/me"), get("/me")),
        // One reading: the fragment is nobody's, and does not go on.
        served("a fragment", line("GET /mail/me#/../admin HTTP/1.1"), get("/me")),
        refused_alone("another host's target", absolute("http://evil/mail/me"), 400),
        refused_alone("another port's target", absolute("http://gw:81/mail/me"), 400),
        refused_alone("a target with userinfo", absolute("http://gw@evil/mail/me"), 400),
        refused_alone(
            "an absolute target without a host",
            "GET http://gw/mail/me HTTP/1.1\r\n{ada}\r\n",
            400,
        ),
        refused_alone("a target that is a host", absolute("gw:443"), 400),
        refused_alone("a target that is an asterisk", absolute("*"), 400),
        refused_alone("OPTIONS of everything", line("OPTIONS * HTTP/1.1"), 400),
        refused("a target that does not begin with a slash", absolute("mail/me"), 400),
        refused_alone("a target with a backslash", absolute("/mail\\me"), 400),
        refused_alone("a target beyond ASCII", absolute("/mail/é"), 400),
        refused_alone("CONNECT", "CONNECT gw:443 HTTP/1.1\r\nhost: gw:443\r\n{ada}\r\n", 501),
        served("a host with a port", host("host: gw:8443\r\n"), get("/me")),
        served("a host that is an address", host("host: [::1]:8443\r\n"), get("/me")),
        refused_alone("no host", host(""), 400),
        refused_alone("two hosts", host("host: gw\r\nhost: gw\r\n"), 400),
        refused_alone("a list of hosts", host("host: gw, evil\r\n"), 400),
        refused_alone("an empty host", host("host:\r\n"), 400),
        refused_alone("a host with userinfo", host("host: me@gw\r\n"), 400),
        refused_alone("a host with a path", host("host: gw/mail\r\n"), 400),
        refused_alone("a host with a query", host("host: gw?x\r\n"), 400),
        refused_alone("a host with a port that is none", host("host: gw:99999\r\n"), 400),
        refused_alone("a host with a space", host("host: gw evil\r\n"), 400),
    ]
}

/// Who calls, and what belongs to one hop.
fn callers() -> Vec<Payload> {
    let people = format!(
        "GET /mail/a HTTP/1.1\r\nhost: gw\r\n{ADA}\r\nPOST /mail/b HTTP/1.1\r\nhost: gw\r\n{BOB}content-length: 2\r\n\r\nhi\
         GET /mail/c HTTP/1.1\r\nhost: gw\r\n\r\nGET /mail/d HTTP/1.1\r\nhost: gw\r\n{ADA}\r\n"
    );
    let hidden_body = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: gw\r\ntransfer-encoding: chunked\r\n\r\n{HIDDEN_SIZE}\r\n{HIDDEN}\r\n0\r\n\r\n"
        )
    };
    vec![
        Payload::new(
            "Ada, Bob, nobody and Ada on one connection",
            people,
            &[200, 200, 401, 200],
            true,
            &[get("/a"), onward("bob", "POST /b", "", "content-length: 2\r\n", "hi"), get("/d")],
        ),
        refused_alone("two tokens", with(ADA), 400),
        refused_alone("two people's tokens", with(BOB), 400),
        refused_alone(
            "a list of tokens",
            "GET /mail/me HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer a, Bearer b\r\n\r\n",
            400,
        ),
        refused_alone("a token in the address", line("GET /mail/me?access_token=x HTTP/1.1"), 400),
        served(
            "a connection that names our headers",
            with("connection: authorization, via, host, obo-request-id, content-length\r\n"),
            get("/me"),
        ),
        served(
            "a connection that names what is passed on",
            with("connection: prefer\r\nprefer: x\r\naccept: y\r\n"),
            onward("ada", "GET /me", "accept: y\r\n", "", ""),
        ),
        served(
            "headers of one hop",
            with(
                "keep-alive: 5\r\nproxy-connection: x\r\nte: gzip\r\ntrailer: x\r\nproxy-authorization: x\r\n",
            ),
            get("/me"),
        ),
        served(
            "an upgrade to HTTP/2",
            with(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
            ),
            get("/me"),
        ),
        served(
            "an upgrade to a WebSocket",
            with("connection: upgrade\r\nupgrade: websocket\r\n"),
            get("/me"),
        ),
        refused_alone(
            "a hidden request in the body of a call without a token",
            hidden_body("/mail/echo"),
            401,
        ),
        refused_alone("a hidden request in the body of a call to nobody", hidden_body("/none"), 404),
        Payload::new(
            "a body that waits to be asked for",
            framed("expect: 100-continue\r\ncontent-length: 3\r\n", "abc"),
            &[100, 200],
            true,
            &[post("abc")],
        ),
        served(
            "another expectation",
            framed("expect: a miracle\r\ncontent-length: 3\r\n", "abc"),
            post("abc"),
        ),
        Payload::new(
            "HTTP/1.0",
            format!("GET /mail/me HTTP/1.0\r\nhost: gw\r\n{ADA}\r\n"),
            &[200],
            false,
            &[get("/me").replace("via: 1.1", "via: 1.0")],
        ),
        Payload::new(
            "HTTP/1.0 that keeps the connection",
            format!("GET /mail/me HTTP/1.0\r\nhost: gw\r\nconnection: keep-alive\r\n{ADA}\r\n"),
            &[200],
            true,
            &[get("/me").replace("via: 1.1", "via: 1.0")],
        ),
        refused("HTTP/1.0 without a host", format!("GET /mail/me HTTP/1.0\r\n{ADA}\r\n"), 400),
    ]
}

/// Beyond the bounds.
fn bounds() -> Vec<Payload> {
    vec![
        served("many headers", with(&"x: y\r\n".repeat(98)), get("/me")),
        refused("too many headers", with(&"x: y\r\n".repeat(99)), 431),
        served("a large head", with(&format!("x: {}\r\n", "y".repeat(60_000))), get("/me")),
        refused("too large a head", with(&format!("x: {}\r\n", "y".repeat(66_000))), 431),
        refused(
            "a head that does not end",
            format!("GET /mail/me HTTP/1.1\r\nx: {}", "y".repeat(70_000)),
            431,
        ),
        refused_alone("a long target", line(&format!("GET /mail/{} HTTP/1.1", "y".repeat(8_190))), 414),
        refused("too long a target", line(&format!("GET /mail/{} HTTP/1.1", "y".repeat(70_000))), 431),
        refused_alone("a deep target", line(&format!("GET /mail{} HTTP/1.1", "/y".repeat(70))), 414),
        refused("a long method", line(&format!("{} /mail/me HTTP/1.1", "Y".repeat(70_000))), 431),
    ]
}

#[tokio::test]
async fn whatever_is_written_onto_a_connection_comes_to_one_reading() {
    let bed = HardenedBed::start().await;
    bed.assert_serves("the start").await;
    let mut wrong = Vec::new();
    let tables = [framings(), chunks(), heads(), targets(), callers(), bounds()];
    for payload in tables.iter().flatten() {
        if let Err(why) = payload.check(&bed).await {
            wrong.push(format!("{}: {why}", payload.name));
        }
        bed.assert_serves(payload.name).await;
    }
    let count: usize = tables.iter().map(Vec::len).sum();
    assert!(wrong.is_empty(), "{} of {count} payloads:\n{}", wrong.len(), wrong.join("\n"));
    bed.assert_recorded().await;
}

#[tokio::test]
async fn a_request_that_breaks_off_is_never_taken_for_a_whole_one() {
    let bed = HardenedBed::start().await;
    let broken = [
        ("within the first line", "GET /mail/me HT".to_owned(), false),
        ("within the head", format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\n{ADA}"), false),
        ("before the last line feed", format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\n{ADA}\r"), false),
        ("within a body of a length", framed("content-length: 10\r\n", "abc"), true),
        ("within the size of a chunk", in_chunks("3\r\nabc\r\n1"), true),
        ("within a chunk", in_chunks("10\r\nabc"), true),
        ("before the last chunk", in_chunks("3\r\nabc\r\n"), true),
        ("within the trailers", in_chunks("3\r\nabc\r\n0\r\nx: y\r\n"), true),
    ];
    let mut records = 0;
    for (name, bytes, is_call) in broken {
        let mut stream = bed.connect().await;
        stream.write_all(&fill(bytes.as_bytes(), &bed)).await.expect("sent");
        drop(stream);
        if is_call {
            records += 1;
            let recorded = bed.bed.calls(records).await;
            let ended = outcome(recorded.last().expect("a record"));
            assert!(["request_broke_off", "agent_left"].contains(&ended.as_str()), "{name}: {ended}");
        }
        bed.assert_serves(name).await;
        records += 1;
    }
    assert_eq!(bed.bed.records().await.len(), records, "a head that breaks off is no call");
    bed.assert_recorded().await;
}
