use std::time::Duration;

use super::*;

#[test]
fn loopback_may_do_without_tls_and_nothing_else_may() {
    assert!(config(&[]).server.tls.is_none());
    assert!(config(&[("127.0.0.1:8080", "\"[::1]:0\"")]).server.tls.is_none());
    assert_eq!(config(&[("127.0.0.1:8080", "localhost:80")]).server.listen.to_string(), "127.0.0.1:80");
    assert!(config(&[("127.0.0.1:8080", "0.0.0.0:8080\nplain_http: true")]).server.tls.is_none());
    let required = "is required: give `tls: { certificate: …, key: … }`, or write `plain_http: true` when \
                    something in \
                    front of the gateway ends TLS";
    check(&[("127.0.0.1:8080", "0.0.0.0:8080")], &[&format!("1: tls: {required}")]);
    check(&[("127.0.0.1:8080", "0.0.0.0:8080\nplain_http: false")], &[&format!("1: tls: {required}")]);
    check(
        &[("127.0.0.1:8080", "0.0.0.0:8080\nplain_http: true\ntls: { certificate: a, key: b }")],
        &["2: plain_http: cannot be true beside `tls`: leave out one of the two"],
    );
    check(
        &[("127.0.0.1:8080", "0.0.0.0:8080\nplain_http: maybe")],
        &["2: plain_http: must be true or false, without quotes (found \"maybe\")"],
    );
}

#[test]
fn addresses_are_numbers() {
    let what = "must be an IP address and a port, like `0.0.0.0:8443` or `\"[::]:8443\"`";
    check(
        &[("127.0.0.1:8080", "gateway.example:80")],
        &[&format!("1: listen: {what} (found \"gateway.example:80\")")],
    );
    check(&[("127.0.0.1:8080", "127.0.0.1")], &[&format!("1: listen: {what} (found \"127.0.0.1\")")]);
    check(&[("issuers:", "admin: :9464\nissuers:")], &[&format!("2: admin: {what} (found \":9464\")")]);
    check(
        &[("listen: 127.0.0.1:8080\n", "")],
        &["1: listen: is required: give an address and a port, like `listen: 127.0.0.1:8080`"],
    );
}

#[test]
fn the_admin_endpoints_stay_on_this_machine() {
    assert_eq!(config(&[]).server.admin.to_string(), "127.0.0.1:9464");
    check_warnings(
        &[("issuers:", "admin: 0.0.0.0:9464\nissuers:")],
        &["2: warning: admin: lets other machines read health and metrics, for which no \
             credentials are asked: use 127.0.0.1"],
    );
    check(
        &[("issuers:", "admin: 127.0.0.1:8080\nissuers:")],
        &["2: admin: is the same address as `listen`: agents must not reach the admin endpoints"],
    );
    check(
        &[("127.0.0.1:8080", "0.0.0.0:9464\nplain_http: true")],
        &["1: admin: is the same address as `listen`: agents must not reach the admin endpoints"],
    );
    config(&[("127.0.0.1:8080", "127.0.0.1:0"), ("issuers:", "admin: 127.0.0.1:0\nissuers:")]);
}

#[test]
fn durations_have_units_and_bounds() {
    assert_eq!(config(&[]).server.drain_timeout, Duration::from_secs(30));
    let drain = |text: &str| format!("timeouts: {{ drain: {text} }}\nissuers:");
    assert_eq!(config(&[("issuers:", &drain("2m"))]).server.drain_timeout, Duration::from_secs(120));
    let units = "must be a whole number with a unit, like `300ms`, `5s`, `2m` or `1h`";
    check(&[("issuers:", &drain("30"))], &[&format!("2: timeouts.drain: {units} (found \"30\")")]);
    let bounds = "must be more than zero and at most `1h`";
    check(&[("issuers:", &drain("0s"))], &[&format!("2: timeouts.drain: {bounds} (found \"0s\")")]);
    check(&[("issuers:", &drain("61m"))], &[&format!("2: timeouts.drain: {bounds} (found \"61m\")")]);
}

#[test]
fn records_go_to_a_file_or_to_standard_output() {
    assert_eq!(config(&[]).audit.file, crate::audit::AuditFile::Path("audit.jsonl".into()));
    assert_eq!(config(&[("audit.jsonl", "\"-\"")]).audit.file, crate::audit::AuditFile::StandardOutput);
    check(
        &[("audit.jsonl", "/dev/null")],
        &[
            "22: audit.file: is a link, a pipe or a device: name a regular file, and not a link to it (found \"/dev/null\")",
        ],
    );
    check(&[("audit.jsonl", "/tmp")], &["22: audit.file: is a folder: name a file in it (found \"/tmp\")"]);
    check(
        &[("audit.jsonl", "records/")],
        &["22: audit.file: is a folder: name a file in it (found \"records/\")"],
    );
    check(
        &[("audit: { file: audit.jsonl }\n", "")],
        &["1: audit: is required: name the file that records are appended to, like `audit: { file: \
             audit.jsonl }`"],
    );
}

#[test]
fn how_records_are_kept_has_defaults_and_bounds() {
    use crate::audit::{Durability, Rotation};

    let audit = |keys: &str| config(&[("audit.jsonl }", &format!("audit.jsonl, {keys} }}"))]).audit;
    let kept = config(&[]).audit;
    assert_eq!((kept.durability, kept.compresses), (Durability::Process, true));
    assert_eq!((kept.rotation, kept.keep.files), (Rotation { bytes: 1 << 30, age: None }, None));
    let kept = audit(
        "durability: disk, instance: gw-1, rotate: { size: 64MiB, age: 24h }, keep: { files: 7, age: 8760h }",
    );
    assert_eq!((kept.durability, kept.instance.as_str()), (Durability::Disk, "gw-1"));
    let age = Some(Duration::from_secs(24 * 3_600));
    assert_eq!((kept.rotation, kept.keep.files), (Rotation { bytes: 64 << 20, age }, Some(7)));
    let faults = |keys: &str, fault: &str| {
        check(&[("audit.jsonl }", &format!("audit.jsonl, {keys} }}"))], &[&format!("22: audit.{fault}")])
    };
    let size = "must be a whole number with a unit, like `64MiB`: at least `64KiB`, at most `1024GiB`";
    for found in ["1", "1KiB", "2000GiB", "1MB", "18446744073709551615GiB"] {
        faults(&format!("rotate: {{ size: {found} }}"), &format!("rotate.size: {size} (found \"{found}\")"));
    }
    faults(
        "keep: { files: many }",
        "keep.files: must be a whole number from 0 to 4294967295, without quotes (found text)",
    );
    faults("keep: { files: 0 }", "keep.files: must be at least 1: without it nothing is deleted");
    faults(
        "instance: a b",
        "instance: is not a name: use 1 to 64 of the letters A to Z and a to z, digits, `.`, `_` and `-` (found \"a b\")",
    );
    faults(
        "checkpoints: { every: 5s }",
        "checkpoints.key: is required: name the file with the key that signs them; `obo-gateway audit keygen` makes one",
    );
    check(
        &[("audit.jsonl }", "\"-\", durability: disk, compress: true }")],
        &[
            "22: audit.durability: must be `memory` or `process`: records go to standard output, and no disk says that it has them",
            "22: audit.compress: goes with a file, and records go to standard output: leave it out, or name a file",
        ],
    );
}

#[test]
fn proofs_are_checked_against_the_public_address() {
    let with = |keys: &str| config(&[("issuers:", &format!("{keys}\nissuers:"))]).public;
    assert!(config(&[]).public.public_url.is_none());
    let public = with("public_url: https://gateway.example/tools\nrequire_dpop_nonce: true");
    assert_eq!(public.public_url.map(String::from).as_deref(), Some("https://gateway.example/tools"));
    assert!(public.requires_dpop_nonce);
    let check =
        |keys: &str, expected: &str| check(&[("issuers:", &format!("{keys}\nissuers:"))], &[expected]);
    check(
        "public_url: https://gateway.example/?a=1",
        "2: public_url: must not have a query (?…): it is where all paths of the gateway begin \
         (found \"https://gateway.example/?a=1\")",
    );
    check(
        "public_url: https://gateway.example/a//b",
        "2: public_url: has a path that has an empty segment (`//`) (found \"https://gateway.example/a//b\")",
    );
    check(
        "require_dpop_nonce: true",
        "2: require_dpop_nonce: goes with `public_url`, without which no proofs are taken: add it, or leave this out",
    );
    check(
        "public_url: http://gateway.example",
        "2: public_url: must be https, unless its host is loopback: tokens must not cross a network in the clear \
         (found \"http://gateway.example\")",
    );
}

#[test]
fn agents_certificates_are_asked_for_where_that_is_wanted() {
    let with = |keys: &str| format!("tls: {{ certificate: a, key: b, {keys} }}\nissuers:");
    let missing = |key: &str, file: &str| {
        format!(
            "2: tls.{key}: names a file that is not there; relative names start at the working directory (found \"{file}\")"
        )
    };
    let check_tls = |keys: &str, more: &[&str]| {
        let mut expected = vec![missing("certificate", "a"), missing("key", "b")];
        expected.extend(more.iter().map(ToString::to_string));
        expected.sort();
        let (mut faults, _) = faults_of(&edited(&[("issuers:", &with(keys))]));
        faults.sort();
        assert_eq!(faults, expected);
    };
    check_tls("client_certificates: optional", &[]);
    check_tls(
        "client_ca_file: c",
        &[
            "2: tls.client_ca_file: goes with `client_certificates`: add `optional` or `required` there, or leave this out",
        ],
    );
    check_tls("client_certificates: required, client_ca_file: c", &[&missing("client_ca_file", "c")]);
    check_tls(
        "client_certificates: maybe",
        &["2: tls.client_certificates: must be one of `none`, `optional`, `required` (found \"maybe\")"],
    );
}
