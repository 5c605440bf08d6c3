//! How far the trail has come, signed from time to time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::{Sink, Writer};
use crate::audit::checkpoint::{Checkpoint, CheckpointKey, NOTE_BYTES_MAX};
use crate::audit::files;
use crate::audit::segment;
use crate::audit::settings::{AuditSettings, Durability};
use crate::clock::Now;

impl Writer {
    pub(super) fn checkpoint_if_due(&mut self, settings: &AuditSettings) {
        let Some(checkpoints) = &settings.checkpoints else { return };
        let is_due = self.since_checkpoint >= checkpoints.every_records
            || self.checkpointed_at.elapsed() >= checkpoints.every;
        if is_due && self.since_checkpoint > 0 {
            self.checkpoint(settings);
        }
    }

    /// Signs how far the trail has come, and publishes that. Everything before is settled.
    pub(super) fn checkpoint(&mut self, settings: &AuditSettings) {
        let Some(checkpoints) = &settings.checkpoints else { return };
        (self.since_checkpoint, self.checkpointed_at) = (0, Instant::now());
        let checkpoint = Checkpoint {
            instance: self.chain.instance().clone(),
            sequence: self.chain.sequence(),
            hash: self.chain.hash(),
            boot: self.chain.boot(),
            time: Now::read().wall,
        };
        let note = checkpoints.key.sign(&checkpoint);
        if let Err(error) = self.keep_checkpoint(&note, settings.durability) {
            self.metrics.audit_write_failures.inc();
            tracing::error!(%error, "Audit checkpoint cannot be kept beside the trail");
        }
        tracing::info!(sequence = checkpoint.sequence, note, "Audit checkpoint");
        self.metrics.audit_checkpoint_sequence.set(i64::try_from(checkpoint.sequence).unwrap_or(i64::MAX));
        self.state.checkpoint.store(Some(Arc::new(note)));
    }

    fn keep_checkpoint(&self, note: &str, durability: Durability) -> io::Result<()> {
        let Sink::Trail(trail) = &self.sink else { return Ok(()) };
        let mut options = OpenOptions::new();
        let opened =
            segment::open(options.read(true).append(true).create(true), &files::checkpoints(&trail.path));
        let mut file = opened.map_err(io::Error::other)?;
        cut_unfinished_note(&file)?;
        file.write_all(format!("{note}\n").as_bytes())?;
        if durability == Durability::Disk { file.sync_data() } else { Ok(()) }
    }
}

/// Takes away the beginning of a checkpoint that was never finished, as when there was no room for it: the next one would go on in
/// the middle of its line.
fn cut_unfinished_note(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(4 * NOTE_BYTES_MAX as u64);
    let mut end = vec![0; usize::try_from(length - start).unwrap_or_default()];
    file.read_exact_at(&mut end, start)?;
    let unfinished = crate::audit::checkpoint::unfinished(&end);
    if unfinished == 0 {
        return Ok(());
    }
    file.set_len(length - unfinished as u64)
}

/// How far the newest checkpoint of ours says that the trail had come.
pub(super) fn last_stated(path: &Path, key: &CheckpointKey) -> Option<u64> {
    let notes = std::fs::read(path).ok()?;
    let start = notes.len().saturating_sub(16 * 1_024);
    let tail = String::from_utf8_lossy(&notes[start..]);
    crate::audit::checkpoint::notes(&tail)
        .filter_map(|note| key.public().verify(note).ok())
        .map(|stated| stated.sequence)
        .max()
}
