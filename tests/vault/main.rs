//! The vault, as operators have it: the commands that look after it, and the gateway on its bad days: a second one on the same
//! file, a disk that is full or fails, and a file that somebody has been at.

mod bed;
// A small file system, and a disk that fails when it is told to.
#[expect(dead_code, reason = "a vault needs fewer kinds of failures than a trail")]
#[path = "../audit_faults/faults.rs"]
mod faults;
// What is searched for secrets here as well.
#[path = "../gateway/leaks.rs"]
mod leaks;
#[path = "../audit_faults/small_disk.rs"]
mod small_disk;

mod commands;
mod disks;
mod files;
mod leaving;
mod stopping;
mod tampering;
