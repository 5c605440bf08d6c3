//! `audit query`: filters, formats, and what of a record reaches whom.

use std::fs;

use serde_json::Value;

use crate::bed::{TrailBed, program, run, text};
use crate::records::Call;

/// A trail in which one call is Ada's alone, with texts that agents chose to do harm.
fn bed() -> TrailBed {
    let mut bed = TrailBed::new();
    bed.write_anew_from(1, |call| {
        if call.request_id.ends_with("-00000022") {
            *call = Call {
                person: "ada, the \"first\"",
                agent: "=HYPERLINK(\"https://evil.example\")",
                detail: "\u{1b}[2Jgone\u{202e}",
                outcome: "scope_missing",
                status: 403,
                ..call.clone()
            };
        }
    });
    bed.write();
    bed
}

fn lines(bed: &TrailBed, arguments: &[&str]) -> Vec<Value> {
    let trail = bed.trail().display().to_string();
    let output = run(&[&["query", &trail, "--format", "json"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn numbers(bed: &TrailBed, arguments: &[&str]) -> Vec<u64> {
    lines(bed, arguments)
        .iter()
        .map(|line| line["metadata"]["sequence"].as_u64().expect("a number"))
        .collect()
}

/// The numbers of the calls of the test that are like this.
fn expected(is_wanted: impl Fn(&Call<'_>) -> bool) -> Vec<u64> {
    (2..=40).filter(|number| ![21, 34].contains(number) && is_wanted(&Call::number(*number))).collect()
}

#[test]
fn each_filter_finds_what_it_says_across_all_files() {
    let bed = bed();
    let everything: Vec<u64> = (1..=40).collect();
    assert_eq!(numbers(&bed, &[]), everything);
    let someone = Call::number(2).person;
    assert_eq!(numbers(&bed, &["--person", someone]), expected(|call| call.person == someone));
    assert_eq!(numbers(&bed, &["--agent", "planner"]), expected(|call| call.agent == "planner"));
    let crm = numbers(&bed, &["--connector", "crm"]);
    assert_eq!(crm, expected(|call| call.connector == "crm"));
    assert_eq!(numbers(&bed, &["--tool", "crm/find_*"]), crm);
    let sent_or_crm = expected(|call| call.tool == "send_message" || call.connector == "crm");
    assert_eq!(numbers(&bed, &["--tool", "*/send_message", "--tool", "crm/*"]), sent_or_crm);
    let denied = numbers(&bed, &["--outcome", "policy_denied"]);
    assert_eq!(denied, expected(|call| call.outcome == "policy_denied"));
    assert_eq!(numbers(&bed, &["--code", "policy_denied"]), denied);
    assert_eq!(numbers(&bed, &["--code", "404"]), expected(|call| call.status == 404));
    assert_eq!(numbers(&bed, &["--outcome", "boot"]), [1, 21]);
    assert_eq!(numbers(&bed, &["--request-id", "3f0c9a1be2d45678-00000007"]), [7]);
    // All of them hold together.
    let both = numbers(&bed, &["--person", someone, "--outcome", "answered", "--outcome", "policy_denied"]);
    assert_eq!(
        both,
        expected(|call| call.person == someone && ["answered", "policy_denied"].contains(&call.outcome))
    );
    assert_eq!(numbers(&bed, &["--person", "ada, the \"first\""]), [34]);
    assert_eq!(numbers(&bed, &["--person", "nobody"]), [0_u64; 0]);
}

#[test]
fn a_period_is_given_in_any_of_the_ways_people_write_times() {
    let bed = bed();
    // Line 8 ended two seconds after ten.
    assert_eq!(numbers(&bed, &["--since", "2026-11-28T10:00:08Z"]), (32..=40).collect::<Vec<_>>());
    assert_eq!(numbers(&bed, &["--until", "2026-11-28T11:00:01+01:00"]), [1, 2, 3]);
    assert_eq!(numbers(&bed, &["--since", "2026-11-28", "--until", "2026-11-29"]).len(), 40);
    assert_eq!(numbers(&bed, &["--until", "2026-11-28"]).len(), 0);
    let wrong = run(&["query", &bed.trail().display().to_string(), "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("`2h`"), "{}", text(&wrong.stderr));
}

#[test]
fn json_is_the_lines_as_they_are_and_a_limit_ends_them() {
    let bed = bed();
    let trail = bed.trail().display().to_string();
    let output = run(&["query", &trail, "--format", "json", "--limit", "20"]);
    let expected: Vec<u8> = bed.lines().take(20).flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
    assert_eq!(output.stdout, expected);
    assert!(run(&["query", &trail, "--limit", "0"]).stdout.is_empty());
}

#[test]
fn a_table_fits_its_width_and_shows_nothing_that_steers_a_terminal() {
    let bed = bed();
    let trail = bed.trail().display().to_string();
    for (columns, width) in [(None, 200), (Some("80"), 80), (Some("nonsense"), 200)] {
        let mut command = program();
        command.args(["query", &trail]);
        if let Some(columns) = columns {
            command.env("COLUMNS", columns);
        }
        let shown = text(&command.output().expect("the program runs").stdout);
        assert_eq!(shown.lines().count(), 41);
        let longest = shown.lines().map(|line| line.chars().count()).max();
        assert!(longest.is_some_and(|longest| longest <= width), "{longest:?}\n{shown}");
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(shown.starts_with("TIME"), "{shown}");
        assert!(shown.contains("2026-11-28 10:00:00"), "{shown}");
        assert!(width == 80 || shown.contains("mail/send_message"), "{shown}");
        assert_eq!(shown.contains("REQUEST"), width == 200, "{shown}");
    }
}

#[test]
fn csv_has_a_fixed_header_and_no_formulas() {
    let bed = bed();
    let trail = bed.trail().display().to_string();
    let shown = text(&run(&["query", &trail, "--format", "csv", "--code", "scope_missing"]).stdout);
    let (header, row) = shown.trim_end().split_once("\r\n").expect("a header and a row");
    assert_eq!(
        header,
        "time,sequence,kind,person,tenant,issuer,agent,connector,tool,identity,outcome,code,status,detail,policies,\
         scopes_requested,scopes_granted,request_bytes,response_bytes,duration_us,request_id"
    );
    let begins = "2026-11-28T10:00:08.500Z,34,call,\"ada, the \"\"first\"\"\",5b1c0000-0000-4000-8000-000000000001,\
                  https://login.example/t-1/v2.0,\"'=HYPERLINK(\"\"https://evil.example\"\")\",notes,read_note,on_behalf_of,\
                  scope_missing,scope_missing,403,";
    assert!(row.starts_with(begins), "{row}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn what_could_not_be_read_is_told() {
    let mut bed = TrailBed::new();
    *bed.line(17) = b"nothing happened".to_vec();
    bed.unfinished = b"{\"class".to_vec();
    bed.write();
    let trail = bed.trail().display().to_string();
    let output = run(&["query", &trail, "--format", "json"]);
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(1), 39));
    assert!(text(&output.stderr).contains("1 line could not be read"), "{}", text(&output.stderr));
    assert_eq!(run(&["query", "/nowhere/audit.jsonl"]).status.code(), Some(2));
    fs::remove_dir_all(bed.folder.path()).expect("removed");
}
