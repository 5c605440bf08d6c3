//! `audit`: where records go, and how they are kept.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DURATION, SIZE};

/// Where the record of every call goes, and how the trail of them is kept.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The file that records are appended to; `"-"`, in quotes, is standard output. Closed files, checkpoints and a lock stand
    /// beside it. One gateway writes it, and no link leads there.
    #[schemars(required)]
    pub file: Option<String>,
    /// What a record has to survive before the end of its call's answer is released. `memory`: nothing, it is written soon after.
    /// `process`: the death of the gateway, the system has it. `disk`: the death of the machine, the disk has it. With
    /// `process` and `disk`, calls are refused while there is no room for their records. Default: `process`.
    pub durability: Option<Durability>,
    /// The gateway's name in records and checkpoints: letters, digits, `.`, `_` and `-`. It belongs to the trail: whoever changes
    /// it begins another one. Default: the name of the machine.
    pub instance: Option<String>,
    /// When the file is closed and the next one begun; SIGUSR1 does it at once.
    pub rotate: Option<Rotate>,
    /// Whether closed files are compressed (zstd). Default: `true`.
    pub compress: Option<bool>,
    /// Which closed files are kept. The others are deleted, and the trail says so. Default: all, for ever.
    pub keep: Option<Keep>,
    /// Signed statements of how far the trail has come, so that nobody can cut it, or write it anew, without being seen.
    pub checkpoints: Option<Checkpoints>,
    /// The keys of the digests that records have of tokens and arguments, and of people with `pseudonyms`. The first is used; the
    /// others are for `obo-gateway audit pseudonym`. Without them a key is made at start, and digests compare within one run
    /// alone.
    #[schemars(length(min = 1))]
    pub keys: Option<Vec<AuditKey>>,
    /// With `keys`: people stand in records under pseudonyms, which only who has the key can find out, and so do their sessions
    /// and the identifiers of their tokens. Tenants and issuers stay. Default: false.
    pub pseudonyms: Option<bool>,
    /// Whether records say what people are called, as their tokens do (`name`). Not beside `pseudonyms`. Default: false.
    pub display_names: Option<bool>,
}

/// A key of the digests in records.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditKey {
    /// What the time is called in which it was used, such as `2026-11`. It stands before each digest.
    #[schemars(required, regex(pattern = r"^[A-Za-z0-9.-]{1,32}$"))]
    pub epoch: Option<String>,
    /// File with the key: at least 32 random bytes, taken as they are. Make one with `openssl rand 32`.
    #[schemars(required)]
    pub file: Option<String>,
}

/// What a record has to survive before the end of its call's answer is released.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    Memory,
    Process,
    Disk,
}

/// When the file is closed and the next one begun: whichever comes first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// Once it is this large, like `64MiB`. Default: `1GiB`.
    #[schemars(regex(pattern = SIZE))]
    pub size: Option<String>,
    /// Once its first line is this old, like `24h`. Default: never.
    #[schemars(regex(pattern = DURATION))]
    pub age: Option<String>,
}

/// Which closed files are kept: those beyond any of the bounds are deleted, oldest first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// As many.
    pub files: Option<u32>,
    /// Those that were closed no longer ago, like `8760h`.
    #[schemars(regex(pattern = DURATION))]
    pub age: Option<String>,
}

/// Signed statements of how far the trail has come.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoints {
    /// PEM file with the Ed25519 private key that signs them: `obo-gateway audit keygen` makes one.
    #[schemars(required)]
    pub key: Option<String>,
    /// After as many lines. Default: 10000.
    pub every_records: Option<u32>,
    /// After as long, if there was a line. Default: `1m`.
    #[schemars(regex(pattern = DURATION))]
    pub every: Option<String>,
}
