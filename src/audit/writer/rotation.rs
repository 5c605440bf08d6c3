//! From one file to the next: when a file is closed and how, and which closed ones are deleted.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::{Sink, Writer};
use crate::audit::files::{self, ClosedFile};
use crate::audit::link::Link;
use crate::audit::mark::{Happening, RotationReason};
use crate::audit::segment::{self, Place, Segment};
use crate::audit::settings::AuditSettings;
use crate::clock::Now;

/// How long a file that could not be closed goes on growing before that is tried again.
const ROTATION_PAUSE: Duration = Duration::from_secs(60);

impl Writer {
    /// Goes on in a new file when somebody has moved, replaced or deleted the one that is written to.
    pub(super) fn follow_file(&mut self) -> io::Result<()> {
        let Sink::Trail(trail) = &mut self.sink else { return Ok(()) };
        let followed = trail.segment.place().and_then(|place| match place {
            Place::Here => Ok(()),
            Place::Moved => self.begin_next(RotationReason::Moved),
            Place::Replaced => self.begin_next(RotationReason::Replaced),
            Place::Removed => self.begin_next(RotationReason::Removed),
        });
        followed.inspect_err(|error| {
            tracing::error!(%error, "Audit file is not where it was, and no new one can be begun");
        })
    }

    pub(super) fn rotate_if_due(&mut self, settings: &AuditSettings) {
        let Sink::Trail(trail) = &self.sink else { return };
        if self.rotation_failed_at.is_some_and(|failed_at| failed_at.elapsed() < ROTATION_PAUSE) {
            return;
        }
        let age = Now::read().wall.saturating_sub(trail.segment.begun());
        let reason = match settings.rotation {
            _ if trail.segment.bytes() == 0 => return,
            rotation if trail.segment.bytes() >= rotation.bytes => RotationReason::Size,
            rotation if rotation.age.is_some_and(|most| age >= most) => RotationReason::Age,
            _ => return,
        };
        match self.begin_next(reason) {
            Ok(()) => {
                self.rotation_failed_at = None;
                self.settle(settings);
                self.delete_what_is_not_kept(settings);
                self.settle(settings);
            }
            Err(error) => {
                self.rotation_failed_at = Some(Instant::now());
                self.metrics.audit_write_failures.inc();
                tracing::error!(%error, "Audit file cannot be closed, it goes on growing");
            }
        }
    }

    /// Closes the file, and begins the next one with a mark. What is pending goes to the new one, whole.
    pub(super) fn begin_next(&mut self, reason: RotationReason) -> io::Result<()> {
        let Sink::Trail(trail) = &mut self.sink else { return Ok(()) };
        let now = Now::read().wall;
        let pending_lines = self.pending.iter().filter(|byte| **byte == b'\n').count() as u64;
        let next = self.chain.sequence() + 1 - pending_lines;
        let first = trail.segment.first();
        let is_wanted = matches!(reason, RotationReason::Size | RotationReason::Age | RotationReason::Signal);
        if is_wanted && first == next {
            return Ok(());
        }
        // As good as it gets: where even that is refused, the lines stand in both files, which `verify` says.
        if trail.segment.take_back().is_ok() {
            self.written = 0;
        }
        let closed = match reason {
            RotationReason::Moved => None,
            RotationReason::Replaced => {
                trail.put_aside(now)?;
                None
            }
            RotationReason::Removed => {
                let rescued = trail.segment.rescue()?;
                if trail.is_place_taken() {
                    trail.put_aside(now)?;
                }
                Some(rescued)
            }
            RotationReason::Size
            | RotationReason::Age
            | RotationReason::Signal
            | RotationReason::SyncFailed => match trail.segment.bytes() {
                0 => {
                    std::fs::remove_file(&trail.path)?;
                    None
                }
                _ => Some(trail.segment.close()?),
            },
        };
        trail.segment = Segment::begin(&trail.path, next, now)?;
        self.written = 0;
        if let Some(closed) = closed.filter(|_| self.state.settings().compresses) {
            trail.archive.compress(closed);
        }
        self.metrics.audit_rotations.inc();
        tracing::info!(reason = reason.as_str(), first, last = next - 1, "Audit file closed");
        self.mark(Happening::Rotated { first, last: next - 1, reason });
        Ok(())
    }

    /// Deletes the closed files that are more, or older, than are kept. The trail says so first.
    pub(super) fn delete_what_is_not_kept(&mut self, settings: &AuditSettings) {
        self.kept_at = Some(Instant::now());
        let Sink::Trail(trail) = &self.sink else { return };
        let closed = match files::closed(&trail.path) {
            Ok(closed) => closed,
            Err(error) => {
                return tracing::error!(%error, "Closed audit files cannot be listed, none is deleted");
            }
        };
        let too_many = settings.keep.files.map_or(0, |most| closed.len().saturating_sub(most));
        let is_old = |file: &ClosedFile| {
            let age = std::fs::metadata(&file.path).and_then(|file| file.modified());
            let age = age.ok().and_then(|modified| modified.elapsed().ok());
            settings.keep.age.is_some_and(|most| age.is_some_and(|age| age > most))
        };
        let doomed: Vec<_> =
            closed.iter().enumerate().take_while(|(index, file)| *index < too_many || is_old(file)).collect();
        let next_of = |index: usize| match closed.get(index + 1) {
            Some(next) => next.reader(),
            None => {
                File::open(&trail.path).map(|file| Box::new(io::BufReader::new(file)) as Box<dyn io::BufRead>)
            }
        };
        let (mut deleted, trail_path) = (Vec::new(), trail.path.clone());
        for (index, file) in doomed {
            // The line after its last one says which that was.
            let line = next_of(index).and_then(segment::first_line);
            let link = line.as_deref().ok().and_then(Link::of);
            let Some(link) = link.filter(|link| link.sequence > file.first) else {
                tracing::error!(file = %file.path.display(), "Closed audit file does not fit the next one, it is kept");
                break;
            };
            deleted.push((file.clone(), link.sequence - 1, link.previous));
        }
        for (file, last, hash) in deleted {
            self.mark(Happening::Deleted { first: file.first, last, last_hash: hash.to_string() });
            self.settle(settings);
            // It may be compressed by now, or both ways, when a gateway died while it compressed.
            let plain = ClosedFile::of(&trail_path, file.first);
            for path in [&plain.path, &plain.compressed()] {
                if let Err(error) = segment::remove_if_there(path) {
                    tracing::error!(%error, file = %path.display(), "Closed audit file cannot be deleted");
                }
            }
        }
    }
}
