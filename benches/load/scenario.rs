//! What is measured: every scenario, and how it counts towards the goals. How it is measured stands elsewhere.

use obo_gateway::demo::jws::Algorithm;

use crate::calls::Call;
use crate::goals::Goal;

/// One thing to measure, by itself.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    pub title: &'static str,
    /// What is compared, for readers of the report.
    pub about: &'static str,
    pub kind: Kind,
}

/// How a scenario is measured.
pub enum Kind {
    /// wrk on each contender in turn.
    Proxied(Proxied),
    /// Streams of events.
    Events,
    /// Calls for one person at once.
    Herd,
    /// Calls for people whose tokens have never been seen.
    Misses,
    /// What is kept, by another program.
    Kept,
    /// Calls while the tokens of very many people are kept.
    People,
    /// Calls for more people than there is memory for.
    Full,
    /// More calls than a connector can serve.
    Overload,
    /// Connections on which nothing happens.
    Idle,
    /// Instructions of each request, by callgrind.
    Instructions,
}

/// The same load on several proxies in turn.
pub struct Proxied {
    pub call: Call,
    /// Whether agents speak TLS to the proxies. Nobody does to the upstream.
    pub tls: bool,
    /// What subject tokens are signed with.
    pub signed: Algorithm,
    pub connections: &'static [u32],
    /// The first is the one that counts, the last is what it is compared with.
    pub contenders: &'static [Contender],
    pub judged: &'static [Judged],
    /// Whether the gateway's memory counts, as it is before any call and with many connections.
    pub weighed: bool,
}

/// Something between agents and the upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    Gateway(Variant),
    /// nginx that passes on what it gets.
    Nginx,
    /// haproxy that verifies each token (`jwt_verify`) and puts another one in its place.
    Haproxy,
    /// The upstream with nothing in front of it.
    Nothing,
}

/// What is not as usual with a gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Usual,
    /// `audit.durability: memory`.
    RecordsInMemory,
    /// `audit.durability: disk`.
    RecordsOnDisk,
    /// There are 500 connectors.
    ManyConnectors,
}

/// A figure of a scenario that a goal is about.
pub struct Judged {
    pub goal: Goal,
    pub connections: u32,
    pub figure: Figure,
}

/// What of the first contender is compared with the last.
#[derive(Clone, Copy)]
pub enum Figure {
    CpuRatio,
    P99Ratio,
    P50Added,
    RateRatio,
}

const GATEWAY: Contender = Contender::Gateway(Variant::Usual);
/// What is compared with nginx.
const BESIDE_NGINX: [Contender; 2] = [GATEWAY, Contender::Nginx];

/// All of them, in the order of the report.
pub static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "plain",
        title: "Plain HTTP",
        about: "A GET answered with 1 KiB of JSON; nginx passes on what it gets, and does nothing else.",
        kind: Kind::Proxied(Proxied {
            call: Call::ListMessages,
            tls: false,
            signed: Algorithm::Rs256,
            connections: &[1, 16, 64, 256],
            contenders: &[GATEWAY, Contender::Nothing, Contender::Nginx],
            judged: &[
                Judged { goal: Goal::PlainCpu, connections: 64, figure: Figure::CpuRatio },
                Judged { goal: Goal::AddedP50, connections: 1, figure: Figure::P50Added },
                Judged { goal: Goal::P99, connections: 64, figure: Figure::P99Ratio },
            ],
            weighed: true,
        }),
    },
    Scenario {
        name: "tls",
        title: "TLS inbound",
        about: "The same with TLS between agents and the proxy, on connections that last.",
        kind: Kind::Proxied(Proxied {
            call: Call::ListMessages,
            tls: true,
            signed: Algorithm::Rs256,
            connections: &[1, 16, 64, 256],
            contenders: &BESIDE_NGINX,
            judged: &[Judged { goal: Goal::TlsCpu, connections: 64, figure: Figure::CpuRatio }],
            weighed: false,
        }),
    },
    Scenario {
        name: "haproxy-rs256",
        title: "haproxy with jwt_verify, RS256",
        about: "haproxy looks at issuer, audience and expiry, verifies each signature, and puts a fixed token in the place of \
                the agent's: the nearest that it can do.",
        kind: Kind::Proxied(Proxied {
            call: Call::ListMessages,
            tls: false,
            signed: Algorithm::Rs256,
            connections: &[64],
            contenders: &[GATEWAY, Contender::Haproxy],
            judged: &[Judged { goal: Goal::HaproxyRs256, connections: 64, figure: Figure::CpuRatio }],
            weighed: false,
        }),
    },
    Scenario {
        name: "haproxy-es256",
        title: "haproxy with jwt_verify, ES256",
        about: "The same with tokens signed by ECDSA on P-256.",
        kind: Kind::Proxied(Proxied {
            call: Call::ListMessages,
            tls: false,
            signed: Algorithm::Es256,
            connections: &[64],
            contenders: &[GATEWAY, Contender::Haproxy],
            judged: &[Judged { goal: Goal::HaproxyEs256, connections: 64, figure: Figure::CpuRatio }],
            weighed: false,
        }),
    },
    Scenario {
        name: "mcp",
        title: "MCP tools/call",
        about: "The call of a tool by MCP 2026-07-28, answered with 1 KiB of JSON. The gateway reads the message and writes it \
                anew; nginx does not look at it.",
        kind: Kind::Proxied(Proxied {
            call: Call::UseTool,
            tls: false,
            signed: Algorithm::Rs256,
            connections: &[64],
            contenders: &BESIDE_NGINX,
            judged: &[],
            weighed: false,
        }),
    },
    Scenario {
        name: "upload",
        title: "64 KiB from agents",
        about: "A POST with a body of 64 KiB, which the upstream reads to its end before it answers 1 KiB.",
        kind: Kind::Proxied(Proxied {
            call: Call::Upload,
            tls: false,
            signed: Algorithm::Rs256,
            connections: &[64],
            contenders: &BESIDE_NGINX,
            judged: &[],
            weighed: false,
        }),
    },
    Scenario {
        name: "download",
        title: "64 KiB from the upstream",
        about: "A GET that is answered with 64 KiB.",
        kind: Kind::Proxied(Proxied {
            call: Call::Download,
            tls: false,
            signed: Algorithm::Rs256,
            connections: &[64],
            contenders: &BESIDE_NGINX,
            judged: &[],
            weighed: false,
        }),
    },
    Scenario {
        name: "durability",
        title: "What a record has to survive",
        about: "The gateway alone, with each `audit.durability`: an answer ends when its record is as safe as that says.",
        kind: Kind::Proxied(Proxied {
            call: Call::ListMessages,
            tls: false,
            signed: Algorithm::Rs256,
            connections: &[1, 64],
            contenders: &[
                Contender::Gateway(Variant::RecordsOnDisk),
                GATEWAY,
                Contender::Gateway(Variant::RecordsInMemory),
            ],
            judged: &[Judged { goal: Goal::DiskRate, connections: 64, figure: Figure::RateRatio }],
            weighed: false,
        }),
    },
    Scenario {
        name: "connectors",
        title: "Many connectors",
        about: "The same call with 500 connectors in the configuration, and with 2.",
        kind: Kind::Proxied(Proxied {
            call: Call::ListMessages,
            tls: false,
            signed: Algorithm::Rs256,
            connections: &[64],
            contenders: &[Contender::Gateway(Variant::ManyConnectors), GATEWAY],
            judged: &[Judged { goal: Goal::Connectors, connections: 64, figure: Figure::CpuRatio }],
            weighed: false,
        }),
    },
    Scenario {
        name: "sse",
        title: "Streams of events",
        about: "Server-sent events, each passed on as it comes. The latency is from the upstream's write to the agent's read.",
        kind: Kind::Events,
    },
    Scenario {
        name: "herd",
        title: "Cold herd",
        about: "Many agents call for the same person at once, for whom nothing is kept: one exchange has to do for all of them.",
        kind: Kind::Herd,
    },
    Scenario {
        name: "misses",
        title: "First calls",
        about: "Each call is for another person, whose token (ES256) has never been seen: it is verified and exchanged. The \
                authorization server answers at once.",
        kind: Kind::Misses,
    },
    Scenario {
        name: "kept",
        title: "A million tokens",
        about: "What delegated tokens of 1.8 KB take in memory, and how long it takes to find one, key derivation included.",
        kind: Kind::Kept,
    },
    Scenario {
        name: "people",
        title: "Many people",
        about: "The same call with the tokens of a million people in the gateway's cache, and with one person's.",
        kind: Kind::People,
    },
    Scenario {
        name: "full",
        title: "More people than memory",
        about: "First calls of far more people than `memory` has room for: how much the gateway holds, and whether those who come when \
                it is full wait longer than those who come before.",
        kind: Kind::Full,
    },
    Scenario {
        name: "overload",
        title: "Overload",
        about: "Three times as many calls as a connector with `limits` can serve, at their own pace.",
        kind: Kind::Overload,
    },
    Scenario {
        name: "idle",
        title: "Idle and stalled clients",
        about: "Idle TLS connections, each after one call, and as many clients that stopped in a handshake, a head or a body; and \
                clients that come meanwhile, each with a new TLS connection and one call.",
        kind: Kind::Idle,
    },
    Scenario {
        name: "instructions",
        title: "Instructions per request",
        about: "What callgrind counts in user space, held against what is committed.",
        kind: Kind::Instructions,
    },
];

impl Scenario {
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }
}

impl Contender {
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway(Variant::Usual) => "obo-gateway",
            Self::Gateway(Variant::RecordsInMemory) => "durability: memory",
            Self::Gateway(Variant::RecordsOnDisk) => "durability: disk",
            Self::Gateway(Variant::ManyConnectors) => "500 connectors",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Nothing => "no proxy",
        }
    }
}

impl Variant {
    /// `audit.durability`.
    pub fn durability(self) -> &'static str {
        match self {
            Self::Usual | Self::ManyConnectors => "process",
            Self::RecordsInMemory => "memory",
            Self::RecordsOnDisk => "disk",
        }
    }

    /// How many connectors there are beside the two that are always there.
    pub fn more_connectors(self) -> u32 {
        match self {
            Self::ManyConnectors => 498,
            Self::Usual | Self::RecordsInMemory | Self::RecordsOnDisk => 0,
        }
    }
}
