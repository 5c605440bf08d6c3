use super::*;
use crate::config::document::FILE_BYTES_MAX;

#[test]
fn a_key_stands_once() {
    check(
        &[("path: /mail", "path: /mail\n    kind: mcp\n    path: /other")],
        &[
            "15: connectors.mail.kind: is written twice; the first is on line 13",
            "16: connectors.mail.path: is written twice; the first is on line 14",
        ],
    );
}

#[test]
fn yaml_that_readers_could_take_differently_is_refused() {
    check(
        &[("[api://obo-gateway]", "&a [api://obo-gateway]"), ("[\"mail/*\"]", "*a")],
        &[
            "6: issuers.contoso.audiences: has an anchor (`&name`), which is not supported: leave it out",
            "21: policy.allow[0].tools: is an alias (`*name`), which is not supported: write the value \
             itself",
        ],
    );
    check(
        &[("kind: rest", "<<: { kind: rest }"), ("/mail", "!!str /mail")],
        &[
            "12: connectors.mail.kind: is required: `rest` for an HTTP API, `mcp` for an MCP \
             server",
            "13: connectors.mail: merges another mapping (`<<`): write its keys out",
            "14: connectors.mail.path: has a tag (`!name`), which is not supported: leave it out",
        ],
    );
    check(&[("audit:", "? [a]\n: b\naudit:")], &["22: has a key that is not text"]);
    check(
        &[("audit:", "---\naudit:")],
        &["23: a configuration is one document: leave out what follows `---`"],
    );
}

#[test]
fn broken_yaml_is_named_with_its_line() {
    let (faults, _) = faults_of(&edited(&[("kind: rest", "kind: rest: x")]));
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("13: is not valid YAML: "), "{faults:?}");
}

#[test]
fn braces_within_braces_are_explained() {
    for braces in ["GET /me/messages/{id}", "${METHOD} /me/messages"] {
        let (faults, _) = faults_of(&edited(&[("GET /me/messages", braces)]));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("17: is not valid YAML: "), "{faults:?}");
        assert!(
            faults[0].ends_with("; within `{ }` and `[ ]`, write values that have braces in quotes"),
            "{faults:?}"
        );
    }
}

#[test]
fn a_file_is_a_mapping() {
    for empty in ["", "# only a comment\n", "---\n", "~\n"] {
        let (faults, _) = faults_of(empty);
        assert_eq!(
            faults,
            ["1: is empty: `listen`, `issuers`, `connectors` and `audit` are required"],
            "{empty:?}"
        );
    }
    for other in ["listen", "- listen"] {
        let (faults, _) = faults_of(other);
        let expected = "1: must be a mapping of keys and values, like `listen: 127.0.0.1:8080`";
        assert_eq!(faults, [expected], "{other:?}");
    }
}

#[test]
fn the_bounds_hold() {
    let long = format!("{SOUND}#{}", "x".repeat(FILE_BYTES_MAX));
    assert_eq!(faults_of(&long).0, ["1: is larger than 1048576 bytes"]);
    let deep = format!("{SOUND}extra: {}{}", "[".repeat(20), "]".repeat(20));
    assert!(faults_of(&deep).0[0].starts_with("23: is not valid YAML: "), "{:?}", faults_of(&deep));
    let wide = format!("{SOUND}extra: [{}]", "x: y, ".repeat(3_000));
    assert_eq!(faults_of(&wide).0.len(), 1);
    let many: String = (0..500).map(|n| format!("extra{n}: x\n")).collect();
    let (faults, _) = faults_of(&format!("{SOUND}{many}"));
    assert_eq!(faults.len(), 101);
    assert_eq!(faults[0], "1: has more faults of this kind: fix these first");
}

#[test]
fn variables_cannot_add_up_to_more_than_memory() {
    let big = |name: &str| (name == "BIG").then(|| "x".repeat(200_000));
    let text = format!("{SOUND}extra: [{}]", "\"${BIG}\", ".repeat(6));
    let error = read("gateway.yaml", text.as_bytes(), &surroundings(&big)).0.expect_err("too much");
    assert!(error.to_string().contains("is more than 1048576 bytes with its variables' values"), "{error}");
}

#[test]
fn a_file_is_utf_8_text() {
    let bytes = [SOUND.as_bytes(), b"# caf\xe9"].concat();
    let error = read("gateway.yaml", &bytes, &surroundings(&environment)).0.expect_err("Latin-1");
    assert_eq!(error.to_string(), "gateway.yaml:23: is not UTF-8 text");
    let marked = format!("\u{feff}{}", SOUND.replace('\n', "\r\n"));
    assert_eq!(faults_of(&marked), (vec![], vec![]));
}

#[test]
fn a_variable_is_only_ever_text() {
    let config = config(&[("[api://obo-gateway]", "[\"${YAML}\", \"$${YAML}\", 'https://${HOST}/a']")]);
    let audiences: Vec<&str> = config.issuers[0].audiences.iter().map(|audience| audience.as_str()).collect();
    assert_eq!(audiences, ["[a, b]", "${YAML}", "https://issuer.example/a"]);
    check(
        &[("127.0.0.1:8080", "${LINES}")],
        &["1: listen: has a line break or another control character: values are single lines"],
    );
    check(
        &[("127.0.0.1:8080", "${EMPTY}")],
        &["1: listen: must not be empty: give it a value, or leave the key out"],
    );
}

#[test]
fn an_unset_variable_is_one_fault_and_not_two() {
    check(
        &[("127.0.0.1:8080", "${NONE}"), ("[api://obo-gateway]", "[\"${NONE}\"]"), ("/mail", "\"${NONE\"")],
        &[
            "1: listen: names the environment variable NONE, which is not set: set it, or give a default \
             with \
             `${NONE:-value}`",
            "6: issuers.contoso.audiences[0]: names the environment variable NONE, which is not set: set \
             it, or \
             give a default with `${NONE:-value}`",
            "14: connectors.mail.path: has `${` without `}`: write `${NAME}`, or `$${` for the characters \
             themselves",
        ],
    );
}

#[test]
fn a_variables_value_is_not_shown() {
    check(
        &[("127.0.0.1:8080", "${CLIENT_SECRET}"), ("GET /me/messages", "\"${CLIENT_SECRET} /me\"")],
        &[
            "1: listen: must be an IP address and a port, like `0.0.0.0:8443` or `\"[::]:8443\"` \
             (found \"${CLIENT_SECRET}\")",
            "17: connectors.mail.tools.list.match: must be a method and a path, like `GET /me/messages/{id}` \
             (found \"${CLIENT_SECRET} /me\")",
        ],
    );
}

proptest::proptest! {
    #[test]
    fn no_text_brings_the_reader_down(text in "[-a-z:{}\\[\\]\"'&*!?#|>$, \n\t]{0,200}") {
        let _ = read_text(&text);
    }

    #[test]
    fn no_edit_brings_the_checks_down(at in 0..SOUND.len(), text in "[a-z/:{}\\[\\]\"$~, \n]{0,12}") {
        let edited = format!("{}{text}{}", &SOUND[..at], &SOUND[at..]);
        let _ = read_text(&edited);
    }
}
