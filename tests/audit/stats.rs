//! `audit stats`: what it counts.

use serde_json::Value;

use crate::bed::{TrailBed, run, text};
use crate::records::Call;

fn stats(bed: &TrailBed, arguments: &[&str]) -> Value {
    let output = run(&[&["stats", &bed.trail().display().to_string(), "--json"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn group<'a>(stats: &'a Value, by: &str) -> &'a Value {
    let groups = stats["groups"].as_array().expect("a list");
    groups.iter().find(|group| group["by"] == by).expect("the group")
}

#[test]
fn calls_are_counted_by_who_what_and_how_they_ended() {
    let bed = TrailBed::new();
    bed.write();
    let told = stats(&bed, &[]);
    let calls = || (2..=40).filter(|number| *number != 21).map(Call::number);
    let count = |is_wanted: &dyn Fn(&Call<'_>) -> bool| calls().filter(|call| is_wanted(call)).count() as u64;
    assert_eq!((&told["records"], &told["calls"], &told["marks"]), (&40.into(), &38.into(), &2.into()));
    assert_eq!(told["refused"], count(&|call| call.outcome != "answered"));
    let answered = &group(&told, "outcome")["names"][0];
    assert_eq!(
        (&answered["name"], &answered["count"]),
        (&"answered".into(), &count(&|call| call.outcome == "answered").into())
    );
    let tools = group(&told, "tool")["names"].as_array().expect("a list").clone();
    assert_eq!(tools.len(), 4);
    for tool in tools {
        let name = tool["name"].as_str().expect("a name");
        assert_eq!(
            tool["count"],
            count(&|call| format!("{}/{}", call.connector, call.tool) == name),
            "{name}"
        );
    }
    let mut durations: Vec<u64> = calls().map(|call| call.duration_us).collect();
    durations.sort_unstable();
    let p50 = told["p50_us"].as_f64().expect("a number");
    assert!((p50 / durations[18] as f64 - 1.0).abs() < 0.05, "{p50}, not {}", durations[18]);
}

#[test]
fn filters_and_the_number_of_names_hold_here_as_well() {
    let bed = TrailBed::new();
    bed.write();
    let told = stats(&bed, &["--connector", "mail", "--top", "1"]);
    let calls = (2..=40)
        .filter(|number| *number != 21)
        .map(Call::number)
        .filter(|call| call.connector == "mail")
        .count();
    assert_eq!(told["calls"], calls);
    let tools = group(&told, "tool");
    assert_eq!(tools["names"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        tools["names"][0]["count"].as_u64().zip(tools["others"].as_u64()).map(|(one, other)| one + other),
        Some(calls as u64)
    );
    let shown = text(&run(&["stats", &bed.trail().display().to_string(), "--top", "2"]).stdout);
    for words in [
        "40 records, 2026-11-28T10:00:00.000Z to",
        "calls by person",
        "calls by tool",
        "(others)",
        "p50 ",
        " %  answered",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}
