//! Small file systems, which can be filled.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Says that this process has mounts of its own.
const OWN_MOUNTS: &str = "AUDIT_FAULTS_OWN_MOUNTS";

/// Runs the test of this name again where it may mount; returns whether this is there already.
pub fn may_mount(test: &str) -> bool {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return true;
    }
    let run = |flags: &str, command: &[&str]| {
        Command::new("unshare").args([flags, "--"]).args(command).env(OWN_MOUNTS, "yes").status()
    };
    let works = |flags: &&&str| {
        let mount = ["sh", "-c", "mount -t tmpfs none /tmp"];
        run(flags, &mount).is_ok_and(|status| status.success())
    };
    // As root, or as who is root in a namespace of its own.
    let Some(flags) = ["-m", "-rm"].iter().find(works) else {
        let why = "no file system can be mounted here (unshare -m, unshare -rm): a full disk is not tested";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
        eprintln!("\n{why}\n");
        return false;
    };
    let program = std::env::current_exe().expect("this program");
    let program = program.to_str().expect("a path of text");
    let again = run(flags, &[program, test, "--exact", "--nocapture"]).expect("unshare");
    assert!(again.success(), "it failed where it may mount");
    false
}

/// Makes a folder with a file system of this size.
pub fn mount(folder: &Path, size: &str) {
    std::fs::create_dir(folder).expect("a folder");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(folder);
    assert!(mount.status().expect("mount").success(), "{mount:?}");
}

/// Takes all the room that is left.
pub fn fill(filler: &Path) {
    let mut file = File::create(filler).expect("a file");
    for size in [64 * 1_024, 4 * 1_024] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
