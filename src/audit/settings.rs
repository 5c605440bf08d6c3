//! How a trail is kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::checkpoint::CheckpointKey;
use super::link::Instance;

/// How a trail is kept.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// Where records go.
    pub file: AuditFile,
    /// The gateway's name in them.
    pub instance: Instance,
    /// What a record has to survive before the end of its call's answer is released.
    pub durability: Durability,
    /// When the file is closed and the next one begun.
    pub rotation: Rotation,
    /// Whether closed files are compressed.
    pub compresses: bool,
    /// Which closed files are kept.
    pub keep: Keep,
    /// What signs how far the trail has come, and how often.
    pub checkpoints: Option<Checkpoints>,
}

/// Where records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuditFile {
    /// Standard output.
    StandardOutput,
    /// A file, appended to; made with mode 0600 when it is not there.
    Path(PathBuf),
}

/// What a record has to survive before the end of its call's answer is released.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Nothing: it is in the gateway's memory, and written soon after.
    Memory,
    /// The death of the gateway: the system has it (`write(2)`).
    Process,
    /// The death of the machine: the disk has it (`fdatasync(2)`), once for all calls that wait at a time.
    Disk,
}

impl Durability {
    /// As it stands in the configuration and in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Process => "process",
            Self::Disk => "disk",
        }
    }
}

impl Serialize for Durability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// When a file is closed and the next one begun: whichever comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Once it has this many bytes.
    pub bytes: u64,
    /// Once its first line is this old.
    pub age: Option<Duration>,
}

/// Which closed files are kept. Those beyond any of the bounds are deleted, oldest first; without bounds, none ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Keep {
    /// As many.
    pub files: Option<usize>,
    /// Those that are no older, by when they were closed.
    pub age: Option<Duration>,
}

/// What signs how far the trail has come, and how often: whichever comes first.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The key.
    pub key: Arc<CheckpointKey>,
    /// After as many lines.
    pub every_records: u64,
    /// After as long, if there was a line.
    pub every: Duration,
}

impl AuditSettings {
    /// Bytes of a file when nothing else is said: large enough to be few, small enough to be handled.
    pub const FILE_BYTES: u64 = 1 << 30;

    /// A trail in `file` by `instance`, kept as it is when nothing else is said.
    pub fn new(file: AuditFile, instance: Instance) -> Self {
        Self {
            file,
            instance,
            durability: Durability::Process,
            rotation: Rotation { bytes: Self::FILE_BYTES, age: None },
            compresses: true,
            keep: Keep::default(),
            checkpoints: None,
        }
    }

    /// A trail for a test.
    pub fn of(path: impl Into<PathBuf>) -> Self {
        let instance = Instance::parse("gateway-1").expect("a name");
        Self::new(AuditFile::Path(path.into()), instance)
    }
}
