//! Holds what the compiler does not: imports point down, proofs have one maker, and every shipped file is checked.

use std::fs;
use std::path::{Path, PathBuf};

/// The house, from the roof to the ground. A module may use what stands below it.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["demo", "fuzzing"],
    &["explain"],
    &["vault_command"],
    &["forget", "process", "pseudonym", "trail"],
    &["config"],
    &["server"],
    &["gateway"],
    &["pages"],
    &["credential", "limit"],
    &["confirmation", "connections"],
    &["oauth"],
    &["vault"],
    &["policy"],
    &["audit"],
    &["metrics"],
    &["tool"],
    &["identity"],
    &["memo", "sparing"],
    &[
        "checked_url",
        "clock",
        "digest",
        "error_chain",
        "flight",
        "patience",
        "random",
        "regular_file",
        "second_chance",
        "strict_json",
        "tls",
        "unique",
        "unseen",
        "worker",
    ],
];

/// What is made in one place only, because it is proof: the text that makes it, and the place.
const PROOFS: &[(&str, &str)] = &[
    ("Caller::verified(", "src/oauth/verifier.rs"),
    (".acting_by(", "src/oauth/verifier.rs"),
    ("Ok(SignedIn {", "src/oauth/claims/id_token.rs"),
    ("Permit { caller", "src/policy/mod.rs"),
    ("Cleared { permit", "src/gateway/confirmation.rs"),
    ("Admitted { limits", "src/limit/mod.rs"),
    ("Delegated { method", "src/gateway/rewrite.rs"),
    ("Credential { authorization", "src/credential/mod.rs"),
    // Which way to a credential a permit goes, and the one place at the end of each.
    ("PersonsPermit(permit)", "src/credential/mode.rs"),
    ("ApplicationPermit(permit)", "src/credential/mode.rs"),
    ("ConnectionPermit(permit)", "src/credential/mode.rs"),
    ("server.exchange(", "src/credential/on_behalf_of.rs"),
    (".application_token(", "src/credential/app_only.rs"),
    ("connections.credential(", "src/credential/connection.rs"),
    // What asks authorization servers and records nothing.
    ("Recorder::for_rehearsal(", "src/gateway/rehearsal.rs"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The source without its tests, which may reach anywhere.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("a file of the project").display().to_string()
}

fn is_test(path: &Path) -> bool {
    let path = relative(path);
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.ends_with("/testing.rs")
        || path.starts_with("src/fuzzing")
}

/// The module at the top of the crate that a file belongs to.
fn module(path: &Path) -> String {
    let path = relative(path);
    let inner = path.strip_prefix("src/").expect("a source file");
    inner.split('/').next().expect("a name").trim_end_matches(".rs").to_owned()
}

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` has no floor in FLOORS"))
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for path in files(&root().join("src"), ".rs") {
        let own = module(&path);
        if own == "lib" || is_test(&path) {
            continue;
        }
        for line in code(&path).lines().filter(|line| !line.trim_start().starts_with("//")) {
            assert!(
                !line.contains("use crate::{"),
                "one line for each module, so that this test sees it: {line}"
            );
            for (at, found) in line.match_indices("crate::").chain(line.match_indices("obo_gateway::")) {
                let used: String = line[at + found.len()..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                if used.is_empty()
                    || used == own
                    || !FLOORS.iter().any(|floor| floor.contains(&used.as_str()))
                {
                    continue;
                }
                if floor(&used) <= floor(&own) {
                    wrong.push(format!("{}: {}", relative(&path), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point up:\n{}", wrong.join("\n"));
}

#[test]
fn the_counterparts_share_no_code_with_the_gateway() {
    for path in files(&root().join("src/demo"), ".rs") {
        let name = relative(&path);
        if name.starts_with("src/demo/story") || is_test(&path) {
            continue;
        }
        for line in code(&path).lines().filter(|line| !line.trim_start().starts_with("//")) {
            for (at, found) in line.match_indices("crate::") {
                assert!(line[at + found.len()..].starts_with("demo"), "{name}: {line}");
            }
        }
    }
}

#[test]
fn every_module_has_a_floor() {
    let library = fs::read_to_string(root().join("src/lib.rs")).expect("the library");
    let declared = library.lines().map(|line| line.trim().trim_start_matches("pub "));
    for module in declared.filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        floor(module);
    }
}

#[test]
fn proofs_have_one_maker() {
    for (made, place) in PROOFS {
        let makers: Vec<_> = files(&root().join("src"), ".rs")
            .into_iter()
            .filter(|path| !is_test(path) && code(path).contains(made))
            .map(|path| relative(&path))
            .collect();
        assert_eq!(makers, [*place], "{made}…");
    }
}

#[test]
fn only_what_sends_a_secret_looks_at_it() {
    let lookers: Vec<_> = files(&root().join("src"), ".rs")
        .into_iter()
        .filter(|path| {
            !is_test(path) && !relative(path).starts_with("src/demo/") && code(path).contains(".expose()")
        })
        .map(|path| relative(&path))
        .collect();
    assert_eq!(
        lookers,
        [
            "src/connections/grant.rs",
            "src/credential/mod.rs",
            "src/oauth/authorization_server.rs",
            "src/oauth/exchange/answer.rs",
            "src/oauth/exchange/application.rs",
            "src/oauth/exchange/id_jag.rs",
            "src/oauth/exchange/request.rs",
            "src/oauth/exchange.rs",
            "src/oauth/sign_in.rs",
            "src/pages/flow.rs",
        ]
    );
}

#[test]
fn no_key_or_certificate_is_in_the_tree() {
    let shipped = [
        "src",
        "config",
        "deploy",
        "tests",
        "benches",
        "certs",
        "fuzz/corpus",
        "fuzz/fuzz_targets",
        "fuzz/inbound",
    ];
    for folder in shipped.iter().map(|folder| root().join(folder)).filter(|folder| folder.exists()) {
        let ignored =
            fs::read_to_string(root().join(".gitignore")).expect("an ignore file").contains("/certs/*");
        for path in files(&folder, "") {
            if ignored && relative(&path).starts_with("certs/") && relative(&path) != "certs/README.md" {
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned();
            // A whole line of base64 after the marker: that is a key, and not talk of one.
            let key = text.match_indices("PRIVATE KEY-----\n").any(|(at, marker)| {
                let line = text[at + marker.len()..].lines().next().unwrap_or_default();
                line.len() >= 40
                    && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
            });
            assert!(!key, "{}", relative(&path));
        }
    }
}

#[test]
fn every_deployed_file_names_what_there_is() {
    for path in files(&root().join("deploy"), "") {
        let text = fs::read_to_string(&path).expect("a text");
        for (at, _) in text.match_indices("obo-gateway run") {
            let line = text[at..].lines().next().unwrap_or_default();
            assert!(line.contains("--config /"), "{}: {line}", relative(&path));
        }
        for (at, _) in text.match_indices("config/") {
            let name: String =
                text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || "/-_.".contains(*c)).collect();
            if name.ends_with(".yaml") && !text[..at].ends_with('/') {
                assert!(root().join(&name).exists(), "{} names {name}", relative(&path));
            }
        }
    }
}

/// Words in quotes like `"token_expired"` within the code of a file.
fn quoted_words(path: &str) -> Vec<String> {
    let code = code(&root().join(path));
    let mut words: Vec<_> = code
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| {
            text.contains('_') && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
        .map(str::to_owned)
        .collect();
    words.sort();
    words.dedup();
    words
}

#[test]
fn the_readme_lists_every_refusal_and_nothing_else() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let (_, section) = readme.split_once("## Refusals").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("a next section");
    let mut listed: Vec<_> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|codes| codes.split(['`', ',', ' ']))
        .filter(|code| !code.is_empty())
        .map(str::to_owned)
        .collect();
    listed.sort();
    // The error codes of challenges are the RFCs', not ours.
    let challenges = ["insufficient_claims", "insufficient_scope", "invalid_request", "invalid_token"];
    let parts = [
        "refusal.rs",
        "refusal/authentication.rs",
        "refusal/confirmation.rs",
        "refusal/forwarding.rs",
        "refusal/limit.rs",
        "refusal/mcp.rs",
        "refusal/obtaining.rs",
        "refusal/rest.rs",
    ];
    let mut codes: Vec<_> =
        parts.iter().flat_map(|part| quoted_words(&format!("src/gateway/{part}"))).collect();
    codes.sort();
    codes.dedup();
    codes.retain(|code| !challenges.contains(&code.as_str()));
    assert_eq!(listed, codes);
}

#[test]
fn the_readme_lists_every_metric() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let (_, section) = readme.split_once("## Metrics").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("a next section");
    for name in quoted_words("src/metrics.rs") {
        let is_metric =
            ["_total", "_seconds", "_entries", "_connections", "_progress", "_success", "_ready", "_info"]
                .iter()
                .any(|ending| name.ends_with(ending));
        assert!(!is_metric || section.contains(&format!("`{name}`")), "`{name}` is not in the README");
    }
}

#[test]
fn the_readme_says_what_each_outcome_of_an_exchange_comes_down_to() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let mut outcomes = Vec::new();
    for (path, function) in
        [("src/oauth/exchange.rs", "fn outcome("), ("src/oauth/error_response.rs", "fn as_str(")]
    {
        let code = code(&root().join(path));
        let (_, body) = code.split_once(function).expect("the function that names them");
        let (body, _) = body.split_once("\n    }\n").expect("its end");
        outcomes.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
    }
    assert!(outcomes.len() > 15, "{outcomes:?}");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| ")).collect();
    for outcome in outcomes {
        let is_there = rows.iter().any(|row| {
            let class = row.split(" | ").nth(1);
            class.is_some_and(|class| class.contains(&format!("`{outcome}`")))
        });
        assert!(is_there, "`{outcome}` is in no row of the README");
    }
}
