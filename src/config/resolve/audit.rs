//! `audit`: where records go, and how they are kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::files::{self, NamedFile};
use super::values;
use crate::audit::checkpoint::CheckpointKey;
use crate::audit::files as audit_files;
use crate::audit::link::Instance;
use crate::audit::{AuditFile, AuditSettings, Checkpoints, Durability, Keep, Rotation};
use crate::config::at::At;
use crate::config::file;

/// Where the system keeps the name of the machine.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// The gateway's name where the machine has none.
const INSTANCE: &str = "obo-gateway";
/// Smallest file: what is smaller is closed all the time.
const FILE_BYTES_MIN: u64 = 64 * 1_024;
/// Few enough to cost nothing, and as many as may go unsigned.
const CHECKPOINT_RECORDS: u32 = 10_000;
/// As long as somebody may have to change what is not signed yet.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// Checks how records are kept. `None` when faults were noted.
pub fn settings(audit: Option<&file::Audit>, at: &At<'_>) -> Option<AuditSettings> {
    let audit = at
        .required(audit, "name the file that records are appended to, like `audit: { file: audit.jsonl }`")?;
    let file = file(audit, &at.key("file"));
    let instance = instance(audit.instance.as_deref(), &at.key("instance"));
    let rotation = rotation(audit.rotate.as_ref(), &at.key("rotate"));
    let keep = keep(audit.keep.as_ref(), &at.key("keep"));
    let checkpoints = checkpoints(audit.checkpoints.as_ref(), &at.key("checkpoints"), instance.as_ref());
    let durability = match audit.durability {
        Some(file::Durability::Memory) => Durability::Memory,
        Some(file::Durability::Process) | None => Durability::Process,
        Some(file::Durability::Disk) => Durability::Disk,
    };
    let file = file?;
    if file == AuditFile::StandardOutput {
        no_files(audit, at, durability)?;
    }
    Some(AuditSettings {
        durability,
        rotation: rotation?,
        compresses: audit.compress != Some(false),
        keep: keep?,
        checkpoints: checkpoints?,
        ..AuditSettings::new(file, instance?)
    })
}

/// What is for files alone, and was said of standard output.
fn no_files(audit: &file::Audit, at: &At<'_>, durability: Durability) -> Option<()> {
    let said = [
        ("rotate", audit.rotate.is_some()),
        ("compress", audit.compress.is_some()),
        ("keep", audit.keep.is_some()),
    ];
    let mut is_sound = true;
    for (key, _) in said.into_iter().filter(|(_, is_said)| *is_said) {
        at.key(key)
            .fault("goes with a file, and records go to standard output: leave it out, or name a file");
        is_sound = false;
    }
    if durability == Durability::Disk {
        at.key("durability").fault(
            "must be `memory` or `process`: records go to standard output, and no disk says that it has them",
        );
        is_sound = false;
    }
    is_sound.then_some(())
}

fn file(audit: &file::Audit, at: &At<'_>) -> Option<AuditFile> {
    let file = at.required(
        audit.file.as_deref(),
        "name the file that records are appended to, or `\"-\"` for standard output",
    )?;
    let path = match file {
        "-" => return Some(AuditFile::StandardOutput),
        path if path.ends_with('/') => {
            at.fault_found("is a folder: name a file in it");
            return None;
        }
        path => Path::new(path),
    };
    match path.symlink_metadata() {
        Ok(there) if there.is_dir() => {
            at.fault_found("is a folder: name a file in it");
            return None;
        }
        Ok(there) if !there.is_file() => {
            at.fault_found("is a link, a pipe or a device: name a regular file, and not a link to it");
            return None;
        }
        Ok(_) | Err(_) => {}
    }
    if !audit_files::folder(path).is_dir() {
        at.warn("is in a folder that is not there: make it before the gateway runs, or it will not start");
    }
    Some(AuditFile::Path(path.into()))
}

fn instance(name: Option<&str>, at: &At<'_>) -> Option<Instance> {
    let Some(name) = name else { return Some(host_name()) };
    let instance = Instance::parse(name);
    if instance.is_none() {
        at.fault_found(
            "is not a name: use 1 to 64 of the letters A to Z and a to z, digits, `.`, `_` and `-`",
        );
    }
    instance
}

fn host_name() -> Instance {
    let name = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    let fits = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.trim().chars().take(64).map(fits).collect();
    Instance::parse(&name)
        .or_else(|| Instance::parse(INSTANCE))
        .expect("the name for machines without one is a name")
}

fn rotation(rotate: Option<&file::Rotate>, at: &At<'_>) -> Option<Rotation> {
    let bytes =
        values::size(&at.key("size"), rotate.and_then(|rotate| rotate.size.as_deref()), FILE_BYTES_MIN);
    let age = values::long_duration(&at.key("age"), rotate.and_then(|rotate| rotate.age.as_deref()));
    Some(Rotation { bytes: bytes?.unwrap_or(AuditSettings::FILE_BYTES), age: age? })
}

fn keep(keep: Option<&file::Keep>, at: &At<'_>) -> Option<Keep> {
    let files = match keep.and_then(|keep| keep.files) {
        Some(0) => {
            at.key("files").fault("must be at least 1: without it nothing is deleted");
            None
        }
        files => Some(files.map(|files| files as usize)),
    };
    let age = values::long_duration(&at.key("age"), keep.and_then(|keep| keep.age.as_deref()));
    Some(Keep { files: files?, age: age? })
}

fn checkpoints(
    checkpoints: Option<&file::Checkpoints>,
    at: &At<'_>,
    instance: Option<&Instance>,
) -> Option<Option<Checkpoints>> {
    let Some(checkpoints) = checkpoints else { return Some(None) };
    let key_at = at.key("key");
    let named = key_at.required(
        checkpoints.key.as_deref(),
        "name the file with the key that signs them; `obo-gateway audit keygen` makes one",
    );
    let pem = named.and_then(|path| files::private_pem(NamedFile { at: &key_at, path }));
    let every_at = at.key("every");
    let every = values::duration(&every_at, checkpoints.every.as_deref(), CHECKPOINT_EVERY);
    let every_records = checkpoints.every_records.unwrap_or(CHECKPOINT_RECORDS);
    if every_records == 0 {
        at.key("every_records").fault("must be at least 1");
        return None;
    }
    match CheckpointKey::from_pem(&pem?, instance?.clone()) {
        Ok(key) => Some(Some(Checkpoints {
            key: Arc::new(key),
            every_records: u64::from(every_records),
            every: every?,
        })),
        Err(error) => {
            key_at.fault_found(format_args!("cannot be used: {error}"));
            None
        }
    }
}
