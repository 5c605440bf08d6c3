//! The program itself: its commands, its exit codes, and its signals.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;

use crate::bed::{Setup, TestBed};

mod descriptors;

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obo-gateway"));
    command.env_remove("OBO_GATEWAY_CONFIG").env_remove("OBO_GATEWAY_LOG");
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("the program runs")
}

pub fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_and_version_read_well() {
    let help = text_of(&run(&["--help"]).stdout);
    for word in ["run", "check", "config", "demo", "Examples:", "SIGHUP"] {
        assert!(help.contains(word), "{help}");
    }
    assert_eq!(
        text_of(&run(&["--version"]).stdout).trim(),
        concat!("obo-gateway ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_schema_is_a_json_schema() {
    let schema: serde_json::Value = serde_json::from_slice(&run(&["config", "schema"]).stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["issuers"].is_object());
}

#[cfg(feature = "cedar")]
#[tokio::test]
async fn the_schema_of_policies_names_what_the_configuration_has() {
    let bed = TestBed::start().await;
    let printed = run(&["policy", "schema", "--config", &bed.config_path().display().to_string()]);
    assert!(printed.status.success(), "{}", text_of(&printed.stderr));
    let schema = text_of(&printed.stdout);
    for line in
        ["entity Person in [Group, Role] = {", "action \"call\" in [\"use\"] appliesTo {", "client: ipaddr,"]
    {
        assert!(schema.contains(line), "{schema}");
    }
    assert_eq!(run(&["policy", "schema", "--config", "/nowhere/gateway.yaml"]).status.code(), Some(64));
}

#[tokio::test]
async fn check_shows_what_a_configuration_comes_to() {
    let bed = TestBed::start().await;
    let checked = run(&["check", "--config", &bed.config_path().display().to_string()]);
    assert!(checked.status.success(), "{}", text_of(&checked.stderr));
    let shown = text_of(&checked.stdout);
    for word in [
        "mail",
        "list_messages",
        "GET /me/messages",
        "on_behalf_of",
        "Mail.Read",
        "everybody",
        "good: 1 issuer",
    ] {
        assert!(shown.contains(word), "{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colour on something that is no terminal");
}

#[tokio::test]
async fn a_bad_configuration_exits_with_64_and_all_its_faults() {
    let bed = TestBed::start().await;
    let bad = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let bad = bad
        .replace("path: /mail", "paht: /mail")
        .replace("kind: entra", "kind: entre")
        .replace("everybody", "\"\"");
    let path = bed.folder.path().join("bad.yaml");
    std::fs::write(&path, bad).expect("written");
    for command in ["check", "run"] {
        let output = run(&[command, "--config", &path.display().to_string()]);
        assert_eq!(output.status.code(), Some(64));
        let faults = text_of(&output.stderr);
        for fault in ["connectors.mail.paht", "`path`", "issuers.contoso.kind", "faults"] {
            assert!(faults.contains(fault), "{fault}: {faults}");
        }
    }
    assert_eq!(run(&["check", "--config", "/nowhere/gateway.yaml"]).status.code(), Some(64));
}

/// A running gateway, killed when dropped.
pub struct Running {
    child: Child,
    pub address: String,
    admin: String,
    /// What it has said since.
    log: Arc<Mutex<Vec<String>>>,
}

impl Running {
    /// Starts one and waits until it says where it serves: off this thread, which also serves the issuer that the
    /// gateway asks for its keys first.
    pub async fn start(config: &Path) -> Self {
        Self::start_as(program(), config).await
    }

    /// Does the same by this program, which becomes the gateway.
    async fn start_as(mut program: Command, config: &Path) -> Self {
        program.args(["run", "--log-format", "json", "--config", &config.display().to_string()]);
        Self::start_by(program).await
    }

    /// Does the same by a command that becomes the gateway.
    pub async fn start_by(command: Command) -> Self {
        tokio::task::spawn_blocking(move || Self::start_blocking(command)).await.expect("it starts")
    }

    fn start_blocking(mut command: Command) -> Self {
        let mut child = command
            // Nothing of the environment decides where the gateway's own calls go.
            .envs(
                ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"]
                    .map(|name| (name, "http://127.0.0.1:1")),
            )
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut lines = BufReader::new(child.stderr.take().expect("a log")).lines();
        let (address, admin) = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
                let address = |which: &str| line["fields"][which].as_str().map(str::to_owned);
                Some((address("agents")?, address("admin")?))
            })
            .expect("it says where it serves");
        // Somebody has to read the rest, or a full pipe would hold the gateway up.
        let log = Arc::<Mutex<Vec<String>>>::default();
        let said = Arc::clone(&log);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| said.lock().expect("nobody panics here").push(line));
        });
        Self { child, address, admin, log }
    }

    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Resident memory, in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        line.split_whitespace().nth(1).and_then(|kibibytes| kibibytes.parse::<u64>().ok()).expect("a number")
            * 1_024
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub async fn exit_code(&mut self) -> Option<i32> {
        for _ in 0..500 {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("still running after ten seconds");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_serves_reloads_and_stops_by_signals() {
    let bed = Setup::default().start().await;
    let config = bed.folder.path().join("own.yaml");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let text = text.replace("audit.jsonl", "own.jsonl");
    std::fs::write(&config, &text).expect("written");
    let mut running = Running::start(&config).await;
    let get = async |path: &str| {
        let url = format!("http://{}{path}", running.address);
        let reply =
            crate::bed::client().get(url).bearer_auth(bed.token("ada")).send().await.expect("an answer");
        reply.status().as_u16()
    };
    assert_eq!(get("/mail/me/messages").await, 200);

    std::fs::rename(bed.folder.path().join("own.jsonl"), bed.folder.path().join("own.1.jsonl"))
        .expect("moved");
    std::fs::write(&config, text.replace("path: /mail", "path: /post")).expect("written");
    running.signal("-HUP");
    for _ in 0..100 {
        if get("/post/me/messages").await == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(get("/mail/me/messages").await, 404);

    running.signal("-TERM");
    assert_eq!(running.exit_code().await, Some(0));
    let lines =
        |name: &str| std::fs::read_to_string(bed.folder.path().join(name)).expect("a trail").lines().count();
    assert!(lines("own.1.jsonl") >= 1 && lines("own.jsonl") >= 2);
}

#[tokio::test]
async fn it_takes_a_file_that_changes_without_a_signal() {
    let bed = Setup::default().start().await;
    let config = bed.folder.path().join("own.yaml");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let text = format!("reload: {{ every: 100ms }}\n{}", text.replace("audit.jsonl", "own.jsonl"));
    std::fs::write(&config, &text).expect("written");
    let mut running = Running::start(&config).await;
    std::fs::write(&config, text.replace("path: /mail", "path: /post")).expect("written");
    let url = format!("http://{}/post/me/messages", running.address);
    let mut statuses = Vec::new();
    while statuses.last() != Some(&200) && statuses.len() < 500 {
        let call = crate::bed::client().get(&url).bearer_auth(bed.token("ada"));
        statuses.push(call.send().await.expect("an answer").status().as_u16());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(statuses.last(), Some(&200), "{statuses:?}");
    running.signal("-TERM");
    assert_eq!(running.exit_code().await, Some(0), "nobody who looks keeps it from stopping");
}

#[tokio::test]
async fn a_second_signal_cuts_what_runs_and_records_it() {
    let bed = Setup::default().tools(crate::bed::ANYTHING).start().await;
    let config = bed.folder.path().join("own.yaml");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    std::fs::write(&config, text.replace("audit.jsonl", "own.jsonl").replace("drain: 2s", "drain: 1m"))
        .expect("written");
    let mut running = Running::start(&config).await;
    let url = format!("http://{}/mail/events?count=1000&every_ms=100", running.address);
    let events = crate::bed::client().get(url).bearer_auth(bed.token("ada")).send().await.expect("a head");
    running.signal("-TERM");
    // Long enough for a busy machine: the second counts a tenth of a second after the first was heard.
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.signal("-TERM");
    assert_eq!(running.exit_code().await, Some(1));
    drop(events);
    let trail = std::fs::read_to_string(bed.folder.path().join("own.jsonl")).expect("a trail");
    assert!(trail.contains(r#""outcome":"gateway_stopped""#), "{trail}");
}

#[test]
fn a_log_filter_that_cannot_be_read_is_said() {
    for (filter, is_said) in [("obo_gateway=debgu", true), ("", false), ("obo_gateway=debug", false)] {
        let mut gateway = program();
        let output =
            gateway.args(["run", "--config", "/nowhere.yaml"]).env("OBO_GATEWAY_LOG", filter).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(64));
        let said = text_of(&output.stderr);
        assert_eq!(
            said.contains("OBO_GATEWAY_LOG") && said.contains("the default is used"),
            is_said,
            "{said}"
        );
    }
}

// `timeout` told the process and its group, and calls were cut that had their time still.
#[tokio::test]
async fn two_signals_in_one_moment_are_one() {
    let bed = Setup::default().tools(crate::bed::ANYTHING).start().await;
    let config = bed.folder.path().join("own.yaml");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    std::fs::write(&config, text.replace("audit.jsonl", "own.jsonl")).expect("written");
    let mut running = Running::start(&config).await;
    let url = format!("http://{}/mail/events?count=5&every_ms=100", running.address);
    let events = crate::bed::client().get(url).bearer_auth(bed.token("ada")).send().await.expect("a head");
    // As where a process and its group are told: of two kinds, since two of one kind may come as one anyway.
    let both = format!("kill -TERM {0}; kill -INT {0}", running.child.id());
    assert!(Command::new("sh").args(["-c", &both]).status().expect("a shell").success());
    let events = events.text().await.expect("all of them");
    assert_eq!(events.matches("data:").count(), 5, "{events}");
    assert_eq!(running.exit_code().await, Some(0));
}

#[tokio::test]
async fn an_audit_file_that_cannot_be_opened_is_said_before_and_at_the_start() {
    let bed = TestBed::start().await;
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let path = bed.folder.path().join("nowhere.yaml");
    std::fs::write(&path, text.replace("audit.jsonl", "nowhere/audit.jsonl")).expect("written");
    let checked = run(&["check", "--config", &path.display().to_string()]);
    assert!(checked.status.success());
    assert!(
        text_of(&checked.stderr).contains("make it before the gateway runs"),
        "{}",
        text_of(&checked.stderr)
    );
    let started = run(&["run", "--config", &path.display().to_string()]);
    assert_eq!(started.status.code(), Some(64));
    assert!(text_of(&started.stderr).contains("No such file"), "{}", text_of(&started.stderr));
}

#[tokio::test]
async fn a_gigabyte_goes_up_without_adding_memory() {
    const PIECE: usize = 65_536;
    const PIECES: usize = 16_384;
    let bed = Setup::default().tools(crate::bed::ANYTHING).start().await;
    let config = bed.folder.path().join("own.yaml");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    std::fs::write(&config, text.replace("audit.jsonl", "own.jsonl")).expect("written");
    let running = Running::start(&config).await;
    let (client, token) = (crate::bed::client(), bed.token("ada"));
    let url = |path: &str| format!("http://{}{path}", running.address);
    let first = client.get(url("/mail/me")).bearer_auth(&token).send().await.expect("an answer");
    assert_eq!(first.status(), 200);
    let before = running.resident();
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let pieces = stream::iter(std::iter::repeat_n(piece, PIECES).map(Ok::<_, std::io::Error>));
    let upload = client.post(url("/mail/upload")).bearer_auth(&token).timeout(Duration::from_secs(120));
    let reply = upload.body(reqwest::Body::wrap_stream(pieces)).send().await.expect("an answer");
    assert_eq!(reply.status(), 200);
    assert!(reply.text().await.expect("a text").contains(&(PIECE * PIECES).to_string()));
    let grown = running.resident().saturating_sub(before);
    assert!(grown < 16 * 1_048_576, "grew by {grown} bytes");
}
