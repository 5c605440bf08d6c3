//! `obo-gateway audit tail`: the last records of a trail, one readable line each, and those that are added to it.
//!
//! A file that is being written is renamed when it is closed, by the gateway or by logrotate, and another one takes its name. Whoever
//! follows reads the one to its end, then what was closed meanwhile, then the other.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::memchr;

use super::filter::Filter;
use super::lines::LINE_BYTES_MAX;
use super::query::colour_of;
use super::record::Record;
use super::scan::{ScanError, scan};
use super::{Progress, Trail, TrailError, date_time, paint};
use crate::audit::files;
use crate::audit::link::Link;
use crate::unseen::clean;

/// Most records that are held to be shown last.
pub const COUNT_MAX: usize = 10_000;
/// How often a file is looked at for what was added to it.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How much is read at once.
const READ_BYTES: usize = 65_536;

/// What is shown of a trail.
pub struct Tail<'a> {
    /// Which records.
    pub filter: &'a Filter,
    /// How many of those that are there.
    pub count: usize,
    /// Whether the terminal shows colours.
    pub colour: bool,
}

impl Tail<'_> {
    /// Writes the last records.
    ///
    /// # Errors
    ///
    /// [`ScanError`].
    pub fn last(&self, trail: Trail, output: &mut dyn Write) -> Result<(), ScanError> {
        self.last_before(trail, VecDeque::new(), output)
    }

    /// Writes the last records, and then those that are added, until the output is closed.
    ///
    /// # Errors
    ///
    /// [`ScanError`].
    pub fn follow(&self, trail: Trail, output: &mut dyn Write) -> Result<(), ScanError> {
        let Some(path) = trail.live().map(Path::to_owned) else { return self.last(trail, output) };
        let mut file = Followed::new(path);
        let mut last = VecDeque::new();
        file.read(&mut |line| {
            self.keep(line, &mut last);
            Ok(())
        })?;
        self.last_before(trail.without_live(), last, output)?;
        loop {
            std::thread::sleep(POLL_INTERVAL);
            file.poll(&mut |line| match self.shown(line) {
                Some(text) => writeln!(output, "{text}"),
                None => Ok(()),
            })?;
            output.flush()?;
        }
    }

    /// Writes the last records, of which some are known already, from the last file back to the first that is needed.
    fn last_before(
        &self,
        mut trail: Trail,
        mut last: VecDeque<String>,
        output: &mut dyn Write,
    ) -> Result<(), ScanError> {
        while last.len() < self.count {
            let Some(file) = trail.take_last() else { break };
            let mut of_file = VecDeque::new();
            scan(file, self.filter, None, &mut Progress::hidden(), |record, _| {
                of_file.push_back(shown(record, self.colour));
                if of_file.len() > self.count - last.len() {
                    of_file.pop_front();
                }
                Ok(ControlFlow::Continue(()))
            })?;
            of_file.append(&mut last);
            last = of_file;
        }
        last.iter().try_for_each(|text| writeln!(output, "{text}"))?;
        Ok(output.flush()?)
    }

    fn keep(&self, line: &[u8], last: &mut VecDeque<String>) {
        if let Some(text) = self.shown(line) {
            last.push_back(text);
            if last.len() > self.count {
                last.pop_front();
            }
        }
    }

    fn shown(&self, line: &[u8]) -> Option<String> {
        let record = Record::parse(line).filter(|_| self.filter.may_match(line))?;
        self.filter.matches(&record).then(|| shown(&record, self.colour))
    }
}

/// A record as one line.
fn shown(record: &Record<'_>, colour: bool) -> String {
    let time = date_time(record.time).replacen('T', " ", 1);
    let outcome = format!("{:<16}", clean(record.outcome()));
    let mut text = format!(
        "{}  {}",
        paint(time.trim_end_matches('Z'), "2", colour),
        paint(&outcome, colour_of(record), colour)
    );
    if let Some(person) = record.person() {
        text += &format!("  {}", clean(person));
    }
    if let Some(agent) = record.agent() {
        text += &format!(" via {}", clean(agent));
    }
    text += &format!("  {}", paint(&clean(&record.target()), "1", colour));
    if let Some(identity) = record.identity() {
        text += &format!("  {}", clean(identity));
    }
    if let Some(duration) = record.duration_us() {
        text += &format!("  {}.{} ms", duration / 1_000, duration % 1_000 / 100);
    }
    text
}

/// A file that is being written.
struct Followed {
    path: PathBuf,
    file: Option<File>,
    /// What stands behind the last line break that was read.
    rest: Vec<u8>,
    /// Whether the rest of a line that is too long is left out.
    is_skipping: bool,
    /// The number of the last line.
    last: Option<u64>,
}

type Each<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

impl Followed {
    fn new(path: PathBuf) -> Self {
        let file = File::open(&path).ok();
        Self { path, file, rest: Vec::new(), is_skipping: false, last: None }
    }

    /// Reads what was added, across files.
    fn poll(&mut self, each: &mut Each<'_>) -> Result<(), ScanError> {
        self.read(each)?;
        if !self.is_replaced().map_err(TrailError::unreadable(&self.path))? {
            return Ok(());
        }
        let Ok(file) = File::open(&self.path) else { return Ok(()) };
        // What was added before it was renamed, and after it was read.
        self.read(each)?;
        let last = self.last;
        for closed in files::closed(&self.path).map_err(TrailError::unreadable(&self.path))? {
            if last.is_some_and(|last| closed.first > last) {
                scan(
                    Trail::find(&[closed.path])?,
                    &Filter::default(),
                    None,
                    &mut Progress::hidden(),
                    |_, line| {
                        self.last = Link::of(line).map(|link| link.sequence).or(self.last);
                        each(line).map(ControlFlow::Continue)
                    },
                )?;
            }
        }
        (self.file, self.is_skipping) = (Some(file), false);
        self.rest.clear();
        self.read(each)
    }

    fn is_replaced(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(true) };
        let own = file.metadata()?;
        if file.stream_position()? > own.len() {
            // It was emptied in place.
            file.rewind()?;
            self.rest.clear();
        }
        // While nothing has the name, the next file is still to come.
        let now = fs::metadata(&self.path).ok();
        Ok(now.is_some_and(|now| (now.dev(), now.ino()) != (own.dev(), own.ino())))
    }

    /// Reads to the end of the file.
    fn read(&mut self, each: &mut Each<'_>) -> Result<(), ScanError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TrailError::unreadable(&self.path)(error).into()),
            };
            let mut read = &buffer[..read];
            while let Some(end) = memchr(b'\n', read) {
                self.rest.extend_from_slice(&read[..end]);
                read = &read[end + 1..];
                if !std::mem::take(&mut self.is_skipping) {
                    self.last = Link::of(&self.rest).map(|link| link.sequence).or(self.last);
                    each(&self.rest)?;
                }
                self.rest.clear();
            }
            self.rest.extend_from_slice(read);
            if self.rest.len() > LINE_BYTES_MAX {
                self.is_skipping = true;
                self.rest.clear();
            }
        }
    }
}
