//! Marks: what happened to the trail itself, and to the gateway that writes it, so that gaps explain themselves.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::record::RequestId;
use super::settings::Durability;

/// Something that happened to the trail, and when.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Its identifier, from the same numbers as calls have.
    pub id: RequestId,
    /// When, since 1970 UTC.
    pub at: Duration,
    /// What.
    pub happening: Happening,
}

impl Mark {
    /// It happened at this time.
    pub fn new(happening: Happening, at: Duration) -> Self {
        Self { id: RequestId::next(), at, happening }
    }
}

/// What happened. Hashes are in hexadecimal, numbers of lines as in `metadata.sequence`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "mark", rename_all = "snake_case")]
pub enum Happening {
    /// The gateway started, and writes on.
    Boot {
        /// The SHA-256 of its configuration file.
        configuration: String,
        /// How its records are kept.
        durability: Durability,
    },
    /// The gateway stopped, and all its records are written.
    Stop,
    /// What ran before did not stop as it should: there is no `stop` at its end. Calls that were under way then have no record.
    Recovered {
        /// Bytes of a line that was never finished, and was taken away. Nobody had been answered on its account.
        torn_bytes: u64,
        /// Lines that a checkpoint had stated and that are not there any more, as when the machine died.
        lost_lines: u64,
    },
    /// Another configuration serves from here on.
    Reloaded {
        /// The SHA-256 of its file.
        configuration: String,
    },
    /// The wall clock was set, so that times before and after cannot be compared.
    ClockStepped {
        /// By how much, in milliseconds; negative: back.
        by_ms: i64,
    },
    /// For a while nothing could be written; calls were refused.
    SinkTrouble {
        /// What the system said first.
        error: String,
        /// For how long, in milliseconds.
        lasted_ms: u64,
        /// Attempts that failed.
        failures: u64,
    },
    /// A file is closed, and the next one begun: this is in it.
    Rotated {
        /// The number of the first line of the closed file.
        first: u64,
        /// The number of its last line.
        last: u64,
        /// Why.
        reason: RotationReason,
    },
    /// A closed file is about to be deleted, as `audit.keep` says.
    Deleted {
        /// The number of its first line.
        first: u64,
        /// The number of its last line.
        last: u64,
        /// The hash of its last line.
        last_hash: String,
    },
}

/// Why a file was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RotationReason {
    /// It was as large as files may become.
    Size,
    /// Its first line was as old as it may become.
    Age,
    /// An operator asked for it.
    Signal,
    /// Somebody had moved it, as logrotate does.
    Moved,
    /// Somebody had moved it, and something else stood in its place.
    Replaced,
    /// Somebody had deleted it.
    Removed,
    /// The disk had failed to take it, so that nobody knows what it has.
    SyncFailed,
}

impl RotationReason {
    /// As it stands in records and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Age => "age",
            Self::Signal => "signal",
            Self::Moved => "moved",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
            Self::SyncFailed => "sync_failed",
        }
    }

    /// Whether somebody should look into it.
    pub const fn is_trouble(self) -> bool {
        match self {
            Self::Replaced | Self::Removed | Self::SyncFailed => true,
            Self::Size | Self::Age | Self::Signal | Self::Moved => false,
        }
    }
}

impl Serialize for RotationReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Happening {
    /// Its name, as in `unmapped.obo.mark`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Boot { .. } => "boot",
            Self::Stop => "stop",
            Self::Recovered { .. } => "recovered",
            Self::Reloaded { .. } => "reloaded",
            Self::ClockStepped { .. } => "clock_stepped",
            Self::SinkTrouble { .. } => "sink_trouble",
            Self::Rotated { .. } => "rotated",
            Self::Deleted { .. } => "deleted",
        }
    }

    /// Whether somebody should look into it.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Recovered { .. } | Self::ClockStepped { .. } | Self::SinkTrouble { .. } => true,
            Self::Rotated { reason, .. } => reason.is_trouble(),
            Self::Boot { .. } | Self::Stop | Self::Reloaded { .. } | Self::Deleted { .. } => false,
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot { durability, .. } => {
                write!(f, "the gateway started, with records as safe as `{}` makes them", durability.as_str())
            }
            Self::Stop => f.write_str("the gateway stopped"),
            Self::Recovered { torn_bytes, lost_lines } => write!(
                f,
                "the gateway before did not stop as it should; {torn_bytes} bytes of an unfinished line removed, \
                 {lost_lines} lines lost that a checkpoint had stated"
            ),
            Self::Reloaded { .. } => f.write_str("the configuration was reloaded"),
            Self::ClockStepped { by_ms } => write!(f, "the clock was set by {by_ms} ms"),
            Self::SinkTrouble { error, lasted_ms, failures } => {
                write!(f, "nothing could be written for {lasted_ms} ms ({failures} attempts): {error}")
            }
            Self::Rotated { first, last, reason } => {
                write!(f, "lines {first} to {last} are in a file that was closed ({})", reason.as_str())
            }
            Self::Deleted { first, last, .. } => {
                write!(f, "the file with lines {first} to {last} is deleted, being as old as files are kept")
            }
        }
    }
}
