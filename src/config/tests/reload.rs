use std::time::Duration;

use super::*;

#[test]
fn files_are_watched_unless_somebody_does_not_want_it() {
    let every = |text: &str| config(&[("issuers:", &format!("{text}\nissuers:"))]).look_every;
    assert_eq!(config(&[]).look_every, Some(Duration::from_secs(5)));
    assert_eq!(every("reload: { every: 1m }"), Some(Duration::from_secs(60)));
    assert_eq!(every("reload: { on_change: true }"), Some(Duration::from_secs(5)));
    assert_eq!(every("reload: { on_change: false }"), None);
    check(
        &[("issuers:", "reload: { every: 99ms }\nissuers:")],
        &["2: reload.every: must be at least `100ms` (found \"99ms\")"],
    );
    check(
        &[("issuers:", "reload: { on_change: false, every: 1s }\nissuers:")],
        &["2: reload.every: goes with `on_change: true`: without it nobody looks; leave out one of the two"],
    );
}

#[test]
fn every_file_that_is_read_is_known_also_to_a_configuration_with_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let [path, certificate, key, secret] = ["gateway.yaml", "tls.pem", "tls.key", "secret"].map(file);
    std::fs::write(&secret, "a secret").expect("written");
    let text = edited(&[(
        "issuers:",
        &format!(
            "tls: {{ certificate: {}, key: {} }}\nadmin_token_file: {}\nissuers:",
            certificate.display(),
            key.display(),
            secret.display()
        ),
    )]);
    std::fs::write(&path, text).expect("written");
    for changed in [&path, &certificate, &key, &secret] {
        let (loaded, sources) = load_with_sources(&path, &environment);
        loaded.expect_err("there is no certificate");
        assert!(!sources.have_changed());
        let before = std::fs::read(changed);
        std::fs::write(changed, "something else").expect("written");
        assert!(sources.have_changed(), "{}", changed.display());
        match before {
            Ok(bytes) => std::fs::write(changed, bytes).expect("written"),
            Err(_) => std::fs::remove_file(changed).expect("removed"),
        }
    }
}

#[test]
fn what_comes_out_of_a_pipe_is_not_looked_for_again() {
    let (_, sources) = load_with_sources(Path::new("/dev/null"), &environment);
    assert!(!sources.have_changed());
    assert_eq!(sources, Sources::default());
}
