//! What becomes of closed files: each is synced, compressed, compared with what it was, and only then deleted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use aws_lc_rs::digest::{Context, SHA256};

use super::files::ClosedFile;
use super::segment;

/// What zstd itself takes for a good balance.
const LEVEL: i32 = 3;
/// How much is read at a time.
const BUFFER_BYTES: usize = 256 * 1_024;

/// A thread that takes care of closed files, so that nobody waits for it.
pub struct Archive {
    files: mpsc::Sender<ClosedFile>,
    is_closed: Arc<AtomicBool>,
}

impl Archive {
    /// Starts the thread. Once this is dropped it ends with the file that it is at, and lets go of the trail's lock only then: two
    /// archives of one trail would each delete the other's copy as a leftover. What it leaves the next start takes up.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(lock: Arc<File>) -> io::Result<Self> {
        let (files, receiver) = mpsc::channel::<ClosedFile>();
        let is_closed = Arc::<AtomicBool>::default();
        let archive = Self { files, is_closed: Arc::clone(&is_closed) };
        thread::Builder::new().name("audit-archive".into()).spawn(move || {
            for file in receiver.iter().take_while(|_| !is_closed.load(Ordering::Relaxed)) {
                if let Err(error) = compress(&file) {
                    tracing::error!(%error, file = %file.path.display(), "Audit file not compressed, it is kept as it is");
                }
            }
            drop(lock);
        })?;
        Ok(archive)
    }

    /// Compresses a closed file, some time.
    pub fn compress(&self, file: ClosedFile) {
        // The thread is there as long as this is, unless it panicked; the file is then kept as it is.
        let _ = self.files.send(file);
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}

fn compress(file: &ClosedFile) -> io::Result<()> {
    let plain = segment::open(OpenOptions::new().read(true), &file.path).map_err(io::Error::other)?;
    plain.sync_all()?;
    let target = file.compressed();
    // A new one: what stands there may have other names, and whoever made it may let others read it.
    segment::remove_if_there(&target)?;
    let packed = segment::open(OpenOptions::new().write(true).create_new(true), &target);
    let packed = packed.map_err(io::Error::other)?;
    let mut encoder = zstd::Encoder::new(&packed, LEVEL)?;
    encoder.include_checksum(true)?;
    let before = copy(BufReader::with_capacity(BUFFER_BYTES, plain), |bytes| encoder.write_all(bytes))?;
    encoder.finish()?;
    packed.sync_all()?;
    segment::sync_folder(&target)?;
    let after = copy(zstd::Decoder::new(File::open(&target)?)?, |_| Ok(()))?;
    if before != after {
        std::fs::remove_file(&target)?;
        return Err(io::Error::other("what was compressed is not what was read"));
    }
    let removed = std::fs::remove_file(&file.path);
    // Somebody deleted it meanwhile, and meant both.
    if removed.is_err() && !file.path.exists() {
        std::fs::remove_file(&target)?;
    }
    removed
}

/// Hands all that is read to `take`, and returns its SHA-256.
fn copy(mut reader: impl Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<[u8; 32]> {
    let mut digest = Context::new(&SHA256);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")),
            count => {
                digest.update(&buffer[..count]);
                take(&buffer[..count])?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::files;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant};

    #[test]
    fn a_compressed_file_has_what_the_plain_one_had() {
        let folder = tempfile::tempdir().expect("a folder");
        let trail = folder.path().join("audit.jsonl");
        let file = ClosedFile::of(&trail, 1);
        let text = "a line\n".repeat(100_000);
        std::fs::write(&file.path, &text).expect("written");
        // What a gateway left that died while it compressed.
        std::fs::write(file.compressed(), "half").expect("written");
        compress(&file).expect("compressed");
        let [found] = files::closed(&trail).expect("a list").try_into().expect("one file");
        assert!(found.is_compressed());
        let mut back = String::new();
        found.reader().expect("opened").read_to_string(&mut back).expect("text");
        assert!(back == text && !file.path.exists());
        assert_eq!(found.last_line().expect("a line"), b"a line");
    }

    // The next archive took the half that this one had made for a leftover, and this one the absence of the file for a wish: a file of a
    // trail that was stopped and opened again was gone.
    #[test]
    fn nobody_opens_a_trail_whose_file_is_being_compressed() {
        let folder = tempfile::tempdir().expect("a folder");
        let trail = folder.path().join("audit.jsonl");
        let (file, next) = (ClosedFile::of(&trail, 1), ClosedFile::of(&trail, 2));
        // It takes long enough for somebody to come meanwhile.
        std::fs::write(&file.path, "a line\n".repeat(3_000_000)).expect("written");
        std::fs::write(&next.path, "a line\n").expect("written");
        let archive = Archive::start(Arc::new(segment::lock(&trail).expect("free"))).expect("started");
        archive.compress(file.clone());
        archive.compress(next.clone());
        let patience = Instant::now() + Duration::from_secs(60);
        while !file.compressed().exists() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        drop(archive);
        while segment::lock(&trail).is_err() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(segment::lock(&trail).is_ok() && !file.path.exists() && file.compressed().exists());
        assert!(next.path.exists(), "nobody waits for all that is left to be done");
    }

    #[test]
    fn no_link_leads_the_archive_astray() {
        let folder = tempfile::tempdir().expect("a folder");
        let trail = folder.path().join("audit.jsonl");
        let precious = folder.path().join("precious");
        std::fs::write(&precious, "precious").expect("written");
        let file = ClosedFile::of(&trail, 1);
        std::fs::write(&file.path, "a line\n").expect("written");
        // Another name of something, and something that everybody may read.
        std::fs::hard_link(&precious, file.compressed()).expect("a link");
        compress(&file).expect("compressed");
        assert_eq!(std::fs::read(&precious).expect("it is there"), b"precious");
        let mode = std::fs::metadata(file.compressed()).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What is no file of ours is not packed, nor taken away.
        let file = ClosedFile::of(&trail, 2);
        std::os::unix::fs::symlink(&precious, &file.path).expect("a link");
        compress(&file).expect_err("it is a link");
        assert!(file.path.is_symlink() && !file.compressed().exists());
    }
}
