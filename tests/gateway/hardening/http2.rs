//! HTTP/2: frames that no client writes, and more of them than any would.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::frames::{
    ACK, Answers, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
    REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, field, frame, number, opening,
    setting,
};
use super::http1;
use super::{HardenedBed, PATIENCE};
use crate::bed::outcome;

/// The stream of the plain request behind an attack, by which it shows whether the connection is still served.
const BEHIND: u32 = 1_000_001;
/// Largest number of a window (RFC 9113 section 6.9.1).
const WINDOW_MAX: u32 = i32::MAX as u32;

/// What is written onto a connection, after its opening.
struct Attack {
    name: &'static str,
    bytes: Vec<u8>,
    comes_to: End,
    /// The request lines of what the connector sees; `None` where it depends on who is faster.
    seen: Option<Vec<&'static str>>,
}

/// What it comes to.
#[derive(PartialEq, Eq, Debug)]
enum End {
    /// The connection ends, for this reason.
    GoneAway(u32),
    /// The first stream is reset, for this reason; the connection goes on.
    Reset(u32),
    /// The first stream is answered; the connection goes on.
    Status(u16),
    /// Nothing comes of it, and the connection goes on.
    Nothing,
    /// The connection is closed without a word.
    Closed,
}

impl Attack {
    async fn check(&self, bed: &HardenedBed) -> Result<(), String> {
        let behind = call(bed, BEHIND, "GET", "/mail/behind", &[]);
        let bytes = match self.bytes.starts_with(b"PRI") {
            true => [&self.bytes[..], &behind].concat(),
            false => [&opening(), &self.bytes[..], &behind].concat(),
        };
        let (reader, mut writer) = bed.connect().await.into_split();
        let mut answers = Answers::default();
        let waits_for_first = matches!(self.comes_to, End::Reset(_) | End::Status(_));
        let enough = |answers: &Answers| answers.is_over(BEHIND) && (!waits_for_first || answers.is_over(1));
        let both = async {
            // The gateway may have heard enough before it has heard all.
            tokio::join!(writer.write_all(&bytes), answers.read(reader, enough)).0.is_ok()
        };
        let is_timely = tokio::time::timeout(PATIENCE, both).await.is_ok();
        drop(writer);
        bed.assert_idle(self.name).await;
        let came_to = match (answers.gone_away, answers.closed) {
            (Some(code), _) => End::GoneAway(code),
            (None, true) => End::Closed,
            (None, false) => match (answers.resets.get(&1), answers.statuses.get(&1)) {
                (Some(code), _) => End::Reset(*code),
                (None, Some(status)) => End::Status(*status),
                (None, None) => End::Nothing,
            },
        };
        let goes_on = matches!(came_to, End::Reset(_) | End::Status(_) | End::Nothing);
        let mut lines: Vec<String> = Vec::new();
        for seen in bed.seen() {
            if !seen.contains(" HTTP/1.1\r\n") {
                return Err(seen);
            }
            lines.push(seen.lines().next().unwrap_or_default().to_owned());
        }
        let behind = lines.iter().position(|line| line == "GET /behind HTTP/1.1");
        if let Some(at) = behind {
            lines.remove(at);
        }
        let expected: Option<Vec<_>> =
            self.seen.as_ref().map(|seen| seen.iter().map(|line| format!("{line} HTTP/1.1")).collect());
        let is_seen = expected.as_ref().is_none_or(|expected| *expected == lines);
        let is_served = !goes_on || (answers.statuses.get(&BEHIND) == Some(&200) && behind.is_some());
        match is_timely && came_to == self.comes_to && is_seen && is_served {
            true => Ok(()),
            false => {
                Err(format!("{came_to:?}, and not {:?}; {answers:?}; {lines:?} {expected:?}", self.comes_to))
            }
        }
    }
}

/// A whole request, with these fields beside those that every one has.
pub fn call(bed: &HardenedBed, stream: u32, method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(bed, method, path, more))
}

/// The same, whose body is still to come.
pub fn begin(bed: &HardenedBed, stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields(bed, "POST", path, more))
}

fn fields(bed: &HardenedBed, method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let bearer = format!("Bearer {}", bed.ada);
    let own = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "gw"),
        ("authorization", &bearer),
    ];
    block(&[&own[..], more].concat())
}

/// A request of exactly these fields and a token.
fn exactly(bed: &HardenedBed, before: &[(&str, &str)]) -> Vec<u8> {
    let bearer = format!("Bearer {}", bed.ada);
    let all = [before, &[("authorization", bearer.as_str())]].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&all))
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/mail/me");
const AUTHORITY: (&str, &str) = (":authority", "gw");

/// The connection ends, and the connector has seen nothing.
fn ends(name: &'static str, bytes: Vec<u8>, code: u32) -> Attack {
    Attack { name, bytes, comes_to: End::GoneAway(code), seen: Some(Vec::new()) }
}

/// The connection ends, and how much the connector has seen depends on who is faster.
fn ends_in_time(name: &'static str, bytes: Vec<u8>, code: u32) -> Attack {
    Attack { name, bytes, comes_to: End::GoneAway(code), seen: None }
}

/// The stream is reset, and the connector has seen nothing.
fn resets(name: &'static str, bytes: Vec<u8>, code: u32) -> Attack {
    Attack { name, bytes, comes_to: End::Reset(code), seen: Some(Vec::new()) }
}

/// The stream is answered by the gateway itself.
fn refused(name: &'static str, bytes: Vec<u8>, status: u16) -> Attack {
    Attack { name, bytes, comes_to: End::Status(status), seen: Some(Vec::new()) }
}

/// It is a request like any other.
fn served(name: &'static str, bytes: Vec<u8>, line: &'static str) -> Attack {
    Attack { name, bytes, comes_to: End::Status(200), seen: Some(vec![line]) }
}

/// Nothing comes of it.
fn borne(name: &'static str, bytes: Vec<u8>) -> Attack {
    Attack { name, bytes, comes_to: End::Nothing, seen: Some(Vec::new()) }
}

/// The fields of a request.
fn of_fields(bed: &HardenedBed) -> Vec<Attack> {
    let with = |name: &str, value: &str| call(bed, 1, "GET", "/mail/me", &[(name, value)]);
    let path = |path: &str| call(bed, 1, "GET", path, &[]);
    let reset = |name, bytes| resets(name, bytes, PROTOCOL_ERROR);
    // h2 cannot tell where such a field ends for the table that both sides share, and gives the connection up.
    let end = |name, bytes| ends(name, bytes, PROTOCOL_ERROR);
    vec![
        served("a plain request", path("/mail/me"), "GET /me"),
        served("trailers wanted", with("te", "trailers"), "GET /me"),
        end("a name in capitals", with("X-Capital", "x")),
        reset("connection", with("connection", "close")),
        reset("keep-alive", with("keep-alive", "5")),
        reset("proxy-connection", with("proxy-connection", "x")),
        reset("transfer-encoding", with("transfer-encoding", "chunked")),
        reset("upgrade", with("upgrade", "websocket")),
        reset("te of another kind", with("te", "gzip")),
        end("an empty name", with("", "x")),
        end("a name with a space", with("x y", "z")),
        end("a name with a colon", with("x:y", "z")),
        end("a name with a line break", with("x\r\ny", "z")),
        end("a name with a NUL", with("x\0", "z")),
        end("a value with a line break", with("x", "y\r\nhost: evil")),
        end("a value with a carriage return", with("x", "y\rz")),
        end("a value with a NUL", with("x", "y\0z")),
        reset("no method", exactly(bed, &[SCHEME, PATH, AUTHORITY])),
        reset("no scheme", exactly(bed, &[METHOD, PATH, AUTHORITY])),
        reset("no path", exactly(bed, &[METHOD, SCHEME, AUTHORITY])),
        refused("no authority", exactly(bed, &[METHOD, SCHEME, PATH]), 400),
        served("a host alone", exactly(bed, &[METHOD, SCHEME, PATH, ("host", "gw")]), "GET /me"),
        refused("another host than the authority", with("host", "evil"), 400),
        refused(
            "two hosts",
            exactly(bed, &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "gw"), ("host", "gw")]),
            400,
        ),
        reset("two methods", exactly(bed, &[METHOD, METHOD, SCHEME, PATH, AUTHORITY])),
        reset("two paths", exactly(bed, &[METHOD, SCHEME, PATH, PATH, AUTHORITY])),
        reset("two schemes", exactly(bed, &[METHOD, SCHEME, SCHEME, PATH, AUTHORITY])),
        reset("two authorities", exactly(bed, &[METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY])),
        reset("a status", exactly(bed, &[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")])),
        end(
            "a pseudo-header of its own",
            exactly(bed, &[METHOD, SCHEME, PATH, AUTHORITY, (":admin", "yes")]),
        ),
        reset(
            "a pseudo-header behind a header",
            exactly(bed, &[METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH]),
        ),
        reset("an empty path", path("")),
        reset("a path without a slash", path("mail/me")),
        reset("a path with a line break", path("/mail/me HTTP/1.1\r\nhost: evil\r\n\r\nGET /")),
        reset("a path with a space", path("/mail/m e")),
        reset("a path with a NUL", path("/mail/m\0e")),
        refused("a path that climbs", path("/mail/../me"), 400),
        refused("a path beyond ASCII", path("/mail/é"), 400),
        reset("an absolute path", path("http://gw/mail/me")),
        refused("an asterisk", path("*"), 400),
        served("a fragment", path("/mail/me#/../admin"), "GET /me"),
        end("a method with a space", call(bed, 1, "GET /x", "/mail/me", &[])),
        refused("a method of our own", call(bed, 1, "SMUGGLE", "/mail/me", &[]), 501),
        refused("TRACE", call(bed, 1, "TRACE", "/mail/me", &[]), 501),
        reset("CONNECT with a path", call(bed, 1, "CONNECT", "/mail/me", &[])),
        refused("CONNECT", exactly(bed, &[(":method", "CONNECT"), (":authority", "gw:443")]), 501),
        reset(
            "CONNECT for a WebSocket",
            exactly(bed, &[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, PATH, AUTHORITY]),
        ),
        refused(
            "an authority with userinfo",
            exactly(bed, &[METHOD, SCHEME, PATH, (":authority", "me@gw")]),
            400,
        ),
        reset("an authority with a path", exactly(bed, &[METHOD, SCHEME, PATH, (":authority", "gw/mail")])),
        reset("an authority with a space", exactly(bed, &[METHOD, SCHEME, PATH, (":authority", "gw evil")])),
        served("another scheme", exactly(bed, &[METHOD, (":scheme", "ftp"), PATH, AUTHORITY]), "GET /me"),
        reset("a scheme that is none", exactly(bed, &[METHOD, (":scheme", "h\r\nx"), PATH, AUTHORITY])),
        refused("two tokens", with("authorization", "Bearer x"), 400),
    ]
}

/// The bodies of requests, and what they say of their length.
fn of_bodies(bed: &HardenedBed) -> Vec<Attack> {
    let post =
        |more: &[(&str, &str)], rest: &[Vec<u8>]| [begin(bed, 1, "/mail/echo", more), rest.concat()].concat();
    let data = |flags, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    let cut = |name, bytes| Attack { name, bytes, comes_to: End::Reset(PROTOCOL_ERROR), seen: None };
    let trailers = |flags, fields: &[(&str, &str)]| frame(HEADERS, flags | END_HEADERS, 1, &block(fields));
    vec![
        served("a body", post(&[("content-length", "3")], &[data(END_STREAM, b"abc")]), "POST /echo"),
        served("a body of its own length", post(&[], &[data(END_STREAM, b"abc")]), "POST /echo"),
        served("a body with padding", post(&[], &[data(END_STREAM | PADDED, b"\x02abc\0\0")]), "POST /echo"),
        served(
            "trailers",
            post(&[], &[data(0, b"abc"), trailers(END_STREAM, &[("x-agent", "canary")])]),
            "POST /echo",
        ),
        cut("a body that is longer", post(&[("content-length", "3")], &[data(END_STREAM, b"abcd")])),
        cut("a body that is shorter", post(&[("content-length", "4")], &[data(END_STREAM, b"abc")])),
        cut("a body that is not there", call(bed, 1, "POST", "/mail/echo", &[("content-length", "3")])),
        resets(
            "two lengths",
            post(&[("content-length", "3"), ("content-length", "4")], &[data(END_STREAM, b"abc")]),
            PROTOCOL_ERROR,
        ),
        resets(
            "a length with a plus",
            post(&[("content-length", "+3")], &[data(END_STREAM, b"abc")]),
            PROTOCOL_ERROR,
        ),
        resets(
            "a length beyond 64 bits",
            post(&[("content-length", "18446744073709551616")], &[data(END_STREAM, b"abc")]),
            PROTOCOL_ERROR,
        ),
        // h2 drops the pseudo-header, and the gateway drops the trailers.
        served(
            "trailers with a pseudo-header",
            post(&[], &[data(0, b"abc"), trailers(END_STREAM, &[(":path", "/mail/x")])]),
            "POST /echo",
        ),
        cut(
            "trailers without an end",
            post(&[], &[data(0, b"abc"), trailers(0, &[("x", "y")]), data(END_STREAM, b"d")]),
        ),
        ends_in_time(
            "trailers with a line break",
            post(&[], &[data(0, b"abc"), trailers(END_STREAM, &[("x", "y\r\nz")])]),
            PROTOCOL_ERROR,
        ),
        ends_in_time(
            "more padding than frame",
            post(&[], &[data(END_STREAM | PADDED, b"\x09abc")]),
            PROTOCOL_ERROR,
        ),
        ends_in_time(
            "a body behind the end",
            [call(bed, 1, "GET", "/mail/me", &[]), data(END_STREAM, b"abc")].concat(),
            PROTOCOL_ERROR,
        ),
        ends("a body without a head", data(END_STREAM, b"abc"), PROTOCOL_ERROR),
        ends("a body on no stream", frame(DATA, END_STREAM, 0, b"abc"), PROTOCOL_ERROR),
        ends_in_time(
            "a body beyond the window",
            post(&[], &[frame(DATA, 0, 1, &[b'x'; 16_384]).repeat(200)]),
            FLOW_CONTROL_ERROR,
        ),
        ends_in_time(
            "a body of nothing, again and again",
            post(&[], &[data(0, b"").repeat(20_000)]),
            ENHANCE_YOUR_CALM,
        ),
    ]
}

/// Frames out of place, and of no form.
fn of_frames(bed: &HardenedBed) -> Vec<Attack> {
    let get = |stream| call(bed, stream, "GET", "/mail/me", &[]);
    let all = fields(bed, "GET", "/mail/me", &[]);
    let preface = |rest: &[u8]| [PREFACE, rest].concat();
    vec![
        Attack {
            name: "a preface that is none",
            bytes: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec(),
            comes_to: End::Closed,
            seen: Some(Vec::new()),
        },
        // Settings may be left out as far as h2 is concerned: each has its default.
        served("no settings", preface(&get(1)), "GET /me"),
        ends("a frame beyond its bound", frame(DATA, 0, 1, &[0; 16_385]), FRAME_SIZE_ERROR),
        ends("settings on a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL_ERROR),
        ends("settings of half a value", frame(SETTINGS, 0, 0, &[0; 5]), PROTOCOL_ERROR),
        ends("settings acknowledged with a value", frame(SETTINGS, ACK, 0, &[0; 6]), PROTOCOL_ERROR),
        ends("settings that push twice", setting(2, 2), PROTOCOL_ERROR),
        ends("settings with too large a window", setting(4, WINDOW_MAX + 1), PROTOCOL_ERROR),
        ends("settings with too small a frame", setting(5, 1), PROTOCOL_ERROR),
        borne("settings that nobody knows", setting(0x7777, 1)),
        ends("a ping of seven bytes", frame(PING, 0, 0, &[0; 7]), PROTOCOL_ERROR),
        ends("a ping on a stream", frame(PING, 0, 1, &[0; 8]), PROTOCOL_ERROR),
        ends("a window that grows by nothing", number(WINDOW_UPDATE, 0, 0), PROTOCOL_ERROR),
        ends("a window beyond its bound", number(WINDOW_UPDATE, 0, WINDOW_MAX), FLOW_CONTROL_ERROR),
        ends("a window of a stream that is not there", number(WINDOW_UPDATE, 1, 1), PROTOCOL_ERROR),
        Attack {
            name: "a stream's window beyond its bound",
            bytes: [begin(bed, 1, "/mail/echo", &[]), number(WINDOW_UPDATE, 1, WINDOW_MAX)].concat(),
            comes_to: End::Reset(FLOW_CONTROL_ERROR),
            seen: None,
        },
        ends("the reset of a stream that is not there", number(RST_STREAM, 1, CANCEL), PROTOCOL_ERROR),
        ends("the reset of no stream", number(RST_STREAM, 0, CANCEL), PROTOCOL_ERROR),
        ends("a push", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), PROTOCOL_ERROR),
        ends("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &all), PROTOCOL_ERROR),
        ends(
            "a ping within a head",
            [frame(HEADERS, END_STREAM, 1, &all[..10]), frame(PING, 0, 0, &[0; 8])].concat(),
            PROTOCOL_ERROR,
        ),
        ends(
            "a head that goes on on another stream",
            [frame(HEADERS, END_STREAM, 1, &all[..10]), frame(CONTINUATION, END_HEADERS, 3, &all[10..])]
                .concat(),
            PROTOCOL_ERROR,
        ),
        served(
            "a head in two frames",
            [frame(HEADERS, END_STREAM, 1, &all[..10]), frame(CONTINUATION, END_HEADERS, 1, &all[10..])]
                .concat(),
            "GET /me",
        ),
        ends("a head on no stream", frame(HEADERS, END_STREAM | END_HEADERS, 0, &all), PROTOCOL_ERROR),
        ends("a head on a stream of the server's", get(2), PROTOCOL_ERROR),
        ends_in_time("a stream that was used", [get(1), get(1)].concat(), PROTOCOL_ERROR),
        ends_in_time("a stream before one that was used", [get(3), get(1)].concat(), PROTOCOL_ERROR),
        resets(
            "a stream that depends on itself",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS | WITH_PRIORITY,
                1,
                &[&[0, 0, 0, 1, 0], &all[..]].concat(),
            ),
            PROTOCOL_ERROR,
        ),
        ends("a priority of four bytes", frame(PRIORITY, 0, 1, &[0; 4]), PROTOCOL_ERROR),
        ends(
            "a field that the table does not have",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff, 0x7f]),
            PROTOCOL_ERROR,
        ),
        ends(
            "a field without an end",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0, 5, b'x']),
            PROTOCOL_ERROR,
        ),
        ends(
            "a table beyond its bound",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x3f, 0xff, 0xff, 0x7f]),
            PROTOCOL_ERROR,
        ),
        borne("a frame of a kind that nobody knows", frame(0x77, 0xff, 1, b"anything")),
        ends(
            "an acknowledgement that nobody waits for",
            [frame(SETTINGS, ACK, 0, &[]), get(1)].concat(),
            PROTOCOL_ERROR,
        ),
    ]
}

/// More than anybody needs.
fn of_floods(bed: &HardenedBed) -> Vec<Attack> {
    let streams = |count: u32| (0..count).map(|index| 2 * index + 1);
    let never = |stream| call(bed, stream, "GET", "/mail/never", &[]);
    let each = |of: &dyn Fn(u32) -> Vec<u8>| streams(2_000).flat_map(of).collect::<Vec<u8>>();
    let all = fields(bed, "GET", "/mail/me", &[]);
    let large = field("x", "y".repeat(16_300));
    let goes_on = |block: &[u8], times| {
        let last = frame(CONTINUATION, END_HEADERS, 1, &[]);
        [frame(HEADERS, END_STREAM, 1, &all), frame(CONTINUATION, 0, 1, block).repeat(times), last].concat()
    };
    vec![
        // CVE-2023-44487.
        ends_in_time(
            "rapid resets",
            each(&|stream| [never(stream), number(RST_STREAM, stream, CANCEL)].concat()),
            ENHANCE_YOUR_CALM,
        ),
        // CVE-2025-8671: the gateway is made to reset what it has begun.
        ends_in_time(
            "streams that the gateway is made to reset",
            each(&|stream| [never(stream), number(WINDOW_UPDATE, stream, WINDOW_MAX)].concat()),
            ENHANCE_YOUR_CALM,
        ),
        ends_in_time(
            "streams that are reset for what they say",
            each(&|stream| call(bed, stream, "GET", "/mail/me", &[("connection", "close")])),
            ENHANCE_YOUR_CALM,
        ),
        served("a head that is large, and not too large", goes_on(&large, 3), "GET /me"),
        refused("a head that is a little too large", goes_on(&large, 4), 431),
        // CVE-2024-27316 and its kin.
        ends("a head that goes on without end", goes_on(&large, 2_000), ENHANCE_YOUR_CALM),
        ends("a head that goes on with nothing, without end", goes_on(&[], 20_000), ENHANCE_YOUR_CALM),
        // CVE-2016-6581: one byte stands for four thousand.
        ends(
            "a head that grows when it is read",
            {
                let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4_000]].concat();
                frame(HEADERS, END_STREAM | END_HEADERS, 1, &[&all[..], &entry, &[0xbe; 8_000]].concat())
            },
            ENHANCE_YOUR_CALM,
        ),
        borne("many settings", setting(3, 100).repeat(20_000)),
        borne("many pings", frame(PING, 0, 0, &[7; 8]).repeat(20_000)),
        borne("many priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]).repeat(20_000)),
        borne("many windows", number(WINDOW_UPDATE, 0, 1).repeat(20_000)),
    ]
}

#[tokio::test]
async fn whatever_frames_come_end_a_stream_or_a_connection_and_nothing_else() {
    let bed = HardenedBed::start().await;
    bed.assert_serves("the start").await;
    let mut wrong = Vec::new();
    let tables = [of_fields(&bed), of_bodies(&bed), of_frames(&bed), of_floods(&bed)];
    for attack in tables.iter().flatten() {
        if let Err(why) = attack.check(&bed).await {
            wrong.push(format!("{}: {why}", attack.name));
        }
        bed.upstream.take();
        bed.assert_serves(attack.name).await;
    }
    let count: usize = tables.iter().map(Vec::len).sum();
    assert!(wrong.is_empty(), "{} of {count} attacks:\n{}", wrong.len(), wrong.join("\n"));
    bed.assert_recorded().await;
}

/// Frames behind the opening of a connection, and what came back once it was enough.
pub async fn answers(
    bed: &HardenedBed,
    frames: &[u8],
    enough: impl Fn(&Answers) -> bool,
) -> (Answers, tokio::net::TcpStream) {
    let mut stream = bed.connect().await;
    let mut answers = Answers::default();
    stream.write_all(&[&opening(), frames].concat()).await.expect("sent");
    tokio::time::timeout(PATIENCE, answers.read(&mut stream, enough)).await.expect("enough");
    (answers, stream)
}

#[tokio::test]
async fn streams_beyond_the_bound_are_refused_and_those_within_are_served() {
    let bed = HardenedBed::start().await;
    let (bound, more) = (256, 40);
    let all = (0..bound + more).map(|index| 2 * index + 1);
    let begun: Vec<u8> = all.clone().flat_map(|stream| begin(&bed, stream, "/mail/echo", &[])).collect();
    let (mut came, mut stream) = answers(&bed, &begun, |came| came.resets.len() >= more as usize).await;
    let refused: BTreeMap<u32, u32> =
        all.skip(bound as usize).map(|stream| (stream, REFUSED_STREAM)).collect();
    assert_eq!(came.resets, refused);
    let ends: Vec<u8> = (0..bound).flat_map(|index| frame(DATA, END_STREAM, 2 * index + 1, b"abc")).collect();
    stream.write_all(&ends).await.expect("sent");
    let whole = came.read(&mut stream, |came| came.ended.len() >= bound as usize);
    tokio::time::timeout(PATIENCE, whole).await.expect("all that were taken are answered");
    assert!(came.statuses.values().all(|status| *status == 200), "{:?}", came.statuses);
    assert_eq!(bed.seen().len(), bound as usize);
    bed.assert_serves("too many streams").await;
    assert_eq!(bed.bed.records().await.len(), bound as usize + 1);
}

#[tokio::test]
async fn an_agent_that_opens_no_window_holds_its_own_answers_alone() {
    let bed = HardenedBed::start().await;
    let large = |stream| call(&bed, stream, "GET", "/mail/large", &[]);
    let stalled = [setting(4, 0), large(1), large(3), large(5)].concat();
    let (_, stream) = answers(&bed, &stalled, |came| came.statuses.len() == 3).await;
    // Another connection is served meanwhile.
    let (_, other) = answers(&bed, &call(&bed, 1, "GET", "/mail/me", &[]), |came| came.is_over(1)).await;
    assert_eq!(bed.bed.metric("obo_gateway_calls_in_progress").await, Some(3.0));
    drop((stream, other));
    bed.seen();
    bed.assert_serves("a window that nobody opens").await;
    let mut outcomes: Vec<String> = bed.bed.records().await.iter().map(outcome).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["agent_left", "agent_left", "agent_left", "answered", "answered"]);
}

#[tokio::test]
async fn an_agent_that_says_it_goes_away_still_gets_its_answer() {
    let bed = HardenedBed::start().await;
    let leaving = [begin(&bed, 1, "/mail/echo", &[]), frame(GOAWAY, 0, 0, &[0; 8])].concat();
    let end = frame(DATA, END_STREAM, 1, b"abc");
    let (came, mut stream) = answers(&bed, &[leaving, end].concat(), |came| came.is_over(1)).await;
    assert_eq!(came.statuses.get(&1), Some(&200));
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    closed.expect("the connection is kept for nobody").expect("closed");
    bed.seen();
    bed.assert_serves("an agent that goes away").await;
}

#[tokio::test]
async fn others_are_served_while_a_flood_comes() {
    let bed = HardenedBed::start().await;
    let floods: Vec<Vec<u8>> = of_floods(&bed).into_iter().map(|attack| attack.bytes).collect();
    let flooding = async {
        for flood in &floods {
            let (mut reader, mut writer) = bed.connect().await.into_split();
            let drained = async {
                let mut sink = vec![0; 65_536];
                while reader.read(&mut sink).await.is_ok_and(|read| read > 0) {}
            };
            let flood = async {
                let _ = writer.write_all(&[&opening(), &flood[..]].concat()).await;
                writer.shutdown().await
            };
            let _ = tokio::join!(drained, flood);
        }
    };
    let calls = async {
        for _ in 0..50 {
            let plain = call(&bed, 1, "GET", "/mail/plain", &[]);
            let (came, _stream) = answers(&bed, &plain, |came| came.is_over(1)).await;
            assert_eq!(came.statuses.get(&1), Some(&200));
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(flooding, calls) })
        .await
        .expect("both come to their end");
    bed.assert_idle("floods").await;
    let plain = http1::get("/plain").replace("via: 1.1", "via: 2");
    assert_eq!(bed.seen().iter().filter(|seen| **seen == plain).count(), 50);
    bed.assert_serves("floods").await;
    bed.assert_recorded().await;
}
