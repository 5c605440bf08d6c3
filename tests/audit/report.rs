//! `audit report`: the page of one person.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::bed::{TrailBed, run, text};
use crate::records::Call;

/// Writes a report and gives its page, the exit code, and what was said.
fn report(bed: &TrailBed, arguments: &[&str]) -> (String, Option<i32>, String) {
    let page = bed.folder.path().join("report.html");
    let (trail, output) = (bed.trail().display().to_string(), page.display().to_string());
    let said = run(&[&["report", &trail, "-o", &output], arguments].concat());
    let page = fs::read_to_string(page).unwrap_or_default();
    (page, said.status.code(), format!("{}{}", text(&said.stdout), text(&said.stderr)))
}

#[test]
fn a_page_has_every_record_of_the_person_and_of_nobody_else() {
    let bed = TrailBed::new();
    bed.write();
    let (key, person) = (bed.key.public().to_string(), Call::number(2).person);
    let (page, code, said) = report(&bed, &["--person", person, "--key", &key]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        page.contains("The trail is whole, and its checkpoints are signed by the key that was given."),
        "{page:.9000}"
    );
    assert!(page.contains(r#"<section class="verdict good""#));
    for number in (2..=40).filter(|number| *number != 21) {
        let call = Call::number(number);
        assert_eq!(page.contains(&call.request_id), call.person == person, "line {number}");
    }
    for words in [
        "https://login.example/t-1/v2.0",
        "5b1c0000-0000-4000-8000-000000000001",
        "staff read mail",
        "https://graph.example/Mail.Read https://graph.example/User.Read",
        "18.3 kB",
        "policy: no rule covers the call",
        "on behalf of",
        "GET /mail/me/send_message",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let mode = fs::metadata(bed.folder.path().join("report.html")).expect("a page").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It stands for itself.
    for outside in ["<script", "src=", "href=", "url(", "@import", "http-equiv=\"refresh\""] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn what_agents_wrote_stays_text() {
    let mut bed = TrailBed::new();
    let evil = "</title><script>alert(1)</script>\u{202e}";
    bed.write_anew_from(1, |call| {
        call.person = "<b>ada</b>";
        call.agent = "<img src=x onerror=alert(1)>";
        call.detail = "\"><script>alert(2)</script>\u{1b}";
        call.user_agent = "<script>";
    });
    bed.write();
    for person in ["<b>ada</b>", evil] {
        let (page, _, _) = report(&bed, &["--person", person]);
        assert!(page.contains("End of the report"), "{page}");
        for raw in ["<b>ada", "<script", "<img", "onerror=alert(1)>", "\u{1b}", "\u{202e}"] {
            assert!(!page.contains(raw), "{raw}");
        }
    }
}

#[test]
fn a_trail_that_is_not_whole_is_said_so_at_the_top() {
    let mut bed = TrailBed::new();
    bed.line(17).splice(100..101, [b'9']);
    bed.write();
    let person = Call::number(2).person;
    let (page, code, said) = report(&bed, &["--person", person]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("The trail is not whole; the first fault is at line 17"), "{said}");
    let (verdict, rest) =
        (page.find("class=\"verdict bad\"").expect("a verdict"), page.find("Totals").expect("totals"));
    assert!(verdict < rest);
    assert!(page.contains("line 17 was changed: line 18 was written after another one"));
    assert!(page.contains(&Call::number(14).request_id), "the records are there all the same");
}

#[test]
fn what_nobody_vouches_for_is_not_shown_as_good() {
    let mut bed = TrailBed::new();
    bed.write();
    let person = Call::number(2).person;
    let (page, code, _) = report(&bed, &["--person", person]);
    assert_eq!(code, Some(0));
    assert!(page.contains("verdict open") && page.contains("were not checked: no key was given"));
    bed.checkpoints.clear();
    fs::remove_file(obo_gateway::audit::files::checkpoints(&bed.trail())).expect("removed");
    let key = bed.key.public().to_string();
    let (page, code, _) = report(&bed, &["--person", person, "--key", &key]);
    assert_eq!(code, Some(2));
    assert!(page.contains("verdict open") && page.contains("nobody vouches for it"));
}

#[test]
fn a_period_and_a_person_without_records_are_told() {
    let bed = TrailBed::new();
    bed.write();
    let person = Call::number(2).person;
    let (page, code, _) =
        report(&bed, &["--person", person, "--since", "2026-11-28T10:00:05Z", "--until", "2026-11-29"]);
    assert_eq!(code, Some(0));
    assert!(page.contains("2026-11-28 10:00:05 UTC – 2026-11-29 00:00:00 UTC"));
    assert!(!page.contains(&Call::number(3).request_id) && page.contains(&Call::number(38).request_id));
    let (page, code, said) = report(&bed, &["--person", "nobody"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("0 records in"), "{said}");
    assert!(page.contains("The trail has no record of this person in this period."));
    let (_, code, said) = report(&bed, &["--person", person, "--output", "/nowhere/report.html"]);
    assert_eq!(code, Some(2), "{said}");
}
