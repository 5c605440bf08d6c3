//! `audit tail`: the last records, and those that are added, across rotation.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use obo_gateway::audit::files::ClosedFile;
use obo_gateway::audit::link::{Chain, LineHash};

use crate::bed::{TrailBed, instance, program, run, text};
use crate::records::{Call, add};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_last_records_are_one_line_each() {
    let bed = TrailBed::new();
    bed.write();
    let trail = bed.trail().display().to_string();
    let shown = text(&run(&["tail", &trail]).stdout);
    assert_eq!(shown.lines().count(), 10);
    let last = shown.lines().last().expect("a line");
    let call = Call::number(40);
    for words in [
        "2026-11-28 10:00:10.000",
        call.outcome,
        call.person,
        call.agent,
        "mail/list_messages",
        call.identity,
        " ms",
    ] {
        assert!(last.contains(words), "{words}: {last}");
    }
    assert!(!shown.contains('\u{1b}'), "colour on something that is no terminal");
    // Further back than the last file goes, and no further than the trail.
    assert_eq!(text(&run(&["tail", &trail, "-n", "35"]).stdout).lines().count(), 35);
    assert_eq!(text(&run(&["tail", &trail, "-n", "100"]).stdout).lines().count(), 40);
    let crm = text(&run(&["tail", &trail, "-n", "5", "--connector", "crm"]).stdout);
    assert_eq!(crm.lines().count(), 5);
    assert!(crm.lines().all(|line| line.contains("crm/find_account")), "{crm}");
}

/// A program that follows, killed when dropped.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(arguments: &[&str]) -> Self {
        let mut command = program();
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("the program runs");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        Self { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_added_is_followed_across_rotation() {
    let bed = TrailBed::new();
    bed.write();
    let trail = bed.trail();
    let end = bed.lines().last().expect("a line").clone();
    let mut chain = Chain::after(40, LineHash::of(&end), instance("gateway-1"), 2);
    let mut line = |number: u64| {
        let mut line = Vec::new();
        add(&mut chain, &Call { tool: "added", ..Call::number(number) }.record(), &mut line);
        line
    };
    let append = |text: &[u8]| {
        let mut file = OpenOptions::new().append(true).create(true).open(&trail).expect("the trail");
        file.write_all(text).expect("written");
    };
    let following = Following::start(&["tail", "-f", "-n", "1", &trail.display().to_string()]);
    assert!(following.next().contains("2026-11-28 10:00:10.000"));

    // In two pieces, as a reader may see it.
    let added = line(41);
    append(&added[..500]);
    std::thread::sleep(Duration::from_millis(300));
    append(&added[500..]);
    assert!(following.next().contains("10:00:10.250"));

    // Closed by the gateway, and the file after it closed as well before anybody looks.
    append(&line(42));
    fs::rename(&trail, ClosedFile::of(&trail, 31).path).expect("renamed");
    append(&line(43));
    fs::rename(&trail, ClosedFile::of(&trail, 43).path).expect("renamed");
    append(&line(44));
    for time in ["10.500", "10.750", "11.000"] {
        let shown = following.next();
        assert!(shown.contains(time), "{time}: {shown}");
    }

    // By logrotate, which leaves a while without a file.
    fs::rename(&trail, trail.with_extension("jsonl.1")).expect("renamed");
    std::thread::sleep(Duration::from_millis(300));
    append(&line(45));
    assert!(following.next().contains("11.250"));
    assert!(following.lines.recv_timeout(Duration::from_millis(600)).is_err(), "something is shown twice");
}

#[test]
fn following_ends_when_its_reader_goes_away() {
    let bed = TrailBed::new();
    bed.write();
    let mut child = program()
        .args(["tail", "-f", &bed.trail().display().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let end = bed.lines().last().expect("a line").clone();
    let (mut chain, mut line) = (Chain::after(40, LineHash::of(&end), instance("gateway-1"), 2), Vec::new());
    add(&mut chain, &Call::number(41).record(), &mut line);
    for _ in 0..80 {
        if let Some(status) = child.try_wait().expect("it is asked") {
            assert_eq!(status.code(), Some(0));
            return;
        }
        let mut file = OpenOptions::new().append(true).open(bed.trail()).expect("the trail");
        file.write_all(&line).expect("written");
        std::thread::sleep(Duration::from_millis(250));
    }
    child.kill().expect("killed");
    panic!("it still runs");
}
