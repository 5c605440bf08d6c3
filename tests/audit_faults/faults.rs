//! A disk that fails when it is told to: `shim.c` is preloaded into the gateway, and does what is ordered here.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// No space left on the device.
pub const ENOSPC: u32 = 28;
/// Input/output error.
pub const EIO: u32 = 5;

/// The orders for one gateway. Their places are those of `struct orders` in `shim.c`.
pub struct Faults {
    file: File,
    pub path: PathBuf,
}

impl Faults {
    /// No orders yet, in a file in this folder.
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("faults");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = file.expect("a file for orders");
        file.set_len(4 * 7).expect("room for them");
        Self { file, path }
    }

    /// The next `times` writes fail with `error`.
    pub fn fail_writes(&self, error: u32, times: u32) {
        self.set(0, error);
        self.set(1, times);
    }

    /// The next `times` writes take half of what they are given; those that fail do so after these.
    pub fn cut_writes_short(&self, times: u32) {
        self.set(2, times);
    }

    /// The next `times` syncs fail with `error`.
    pub fn fail_syncs(&self, error: u32, times: u32) {
        self.set(3, error);
        self.set(4, times);
    }

    /// Each sync takes this long.
    pub fn slow_syncs(&self, milliseconds: u32) {
        self.set(5, milliseconds);
    }

    /// How many calls have failed as ordered.
    pub fn failed(&self) -> u32 {
        let mut number = [0; 4];
        self.file.read_exact_at(&mut number, 4 * 6).expect("readable");
        u32::from_ne_bytes(number)
    }

    fn set(&self, place: u64, number: u32) {
        self.file.write_all_at(&number.to_ne_bytes(), 4 * place).expect("writable");
    }
}

/// Where the shim is, made once.
pub fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        // Not where another run may be loading it from.
        let shim =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-faults-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit_faults/shim.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread", "-o"]).arg(&shim).arg(source);
        assert!(cc.status().expect("a C compiler").success(), "{cc:?}");
        shim
    })
}
