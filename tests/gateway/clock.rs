//! Clocks that are set while the gateway runs: `clock.c` is preloaded into it, and has its clocks say what the test wants.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::bed::{ANYTHING, Setup, TestBed};
use crate::command::{Running, program, text_of};

const HOUR: i64 = 3_600;

/// The clocks of one gateway.
pub struct Clock {
    file: File,
    path: PathBuf,
}

impl Clock {
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("clock");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let clock = Self { file: file.expect("a file"), path };
        clock.set(0);
        clock.has_gone_on(0);
        clock
    }

    /// The wall clock is off by so many seconds from here on.
    fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).expect("writable");
    }

    /// So many seconds have gone by in all, beside those that really have.
    pub fn has_gone_on(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 8).expect("writable");
    }

    pub fn gateway(&self, config: &Path) -> Command {
        let mut command = program();
        command.args(["run", "--log-format", "json", "--config"]).arg(config);
        command.env("LD_PRELOAD", shim("clock")).env("CLOCK_STEP", &self.path);
        command
    }
}

/// What is to be preloaded, made from the source of this name.
pub fn shim(name: &str) -> PathBuf {
    let shim = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.so", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/gateway/{name}.c"));
    // Several tests may make it at a time.
    let unfinished = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread", "-o"])
        .arg(unfinished.path())
        .arg(source);
    assert!(cc.status().expect("a C compiler").success(), "{cc:?}");
    unfinished.persist(&shim).expect("a name");
    shim
}

/// The status of a call, and the code of its refusal.
async fn call(running: &Running, path: &str, token: &str) -> (u16, String) {
    let url = format!("http://{}{path}", running.address);
    let answer = crate::bed::client().get(url).bearer_auth(token).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body: serde_json::Value = answer.json().await.unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn no_token_is_good_again_and_nothing_breaks_when_the_wall_clock_is_set() {
    let bed: TestBed = Setup::default().tools(ANYTHING).start().await;
    let clock = Clock::new(bed.folder.path());
    let config = bed.folder.path().join("own.yaml");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    std::fs::write(&config, text.replace("audit.jsonl", "own.jsonl")).expect("written");
    let mut running = Running::start_by(clock.gateway(&config)).await;
    let person = |who: &str| bed.authorization_server.subject_token(who);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    let good = person("ada").expires_in(Duration::from_secs(1_800)).mint();
    // Over by its `exp`, and taken for some seconds still, since clocks differ.
    let ending =
        person("ada").claim("iat", now - 7_200).claim("nbf", now - 7_200).claim("exp", now - 55).mint();
    let expired = person("ada").expired().mint();
    let taken = (200, String::new());
    let refused = (401, "token_expired".to_owned());
    assert_eq!(call(&running, "/mail/me", &good).await, taken);
    assert_eq!(call(&running, "/mail/me", &ending).await, taken);
    assert_eq!(call(&running, "/mail/me", &expired).await, refused);
    tokio::time::sleep(Duration::from_secs(6)).await;

    for back in [HOUR, 24 * HOUR] {
        clock.set(-back);
        assert_eq!(call(&running, "/mail/me", &ending).await, refused, "{back} s back");
        assert_eq!(call(&running, "/mail/me", &expired).await, refused, "{back} s back");
        assert_eq!(call(&running, "/mail/me", &good).await, taken, "it is remembered, and its time not over");
    }
    clock.set(HOUR);
    assert_eq!(call(&running, "/mail/me", &good).await, refused);
    assert_eq!(call(&running, "/mail/me", &ending).await, refused);
    clock.set(0);
    assert_eq!(call(&running, "/mail/me", &good).await, taken);
    assert_eq!(call(&running, "/mail/me", &ending).await, refused);

    // While keys are fetched and a token is being obtained: either way the call is answered, and the next one is good.
    bed.authorization_server.rotate_keys(true);
    for step in [HOUR, -HOUR] {
        let token = person("bob").expires_in(Duration::from_secs(1_800)).mint();
        let stepped = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            clock.set(step);
        };
        let ((status, code), ()) = tokio::join!(call(&running, "/mail/me", &token), stepped);
        assert!(status == 200 || status == 401, "{status} {code}");
        clock.set(0);
        assert_eq!(call(&running, "/mail/me", &token).await, taken);
    }
    // The clock of the trail is looked at four times a second.
    clock.set(-HOUR);
    tokio::time::sleep(Duration::from_millis(600)).await;
    running.signal("-TERM");
    assert_eq!(running.exit_code().await, Some(0));
    let trail = bed.folder.path().join("own.jsonl");
    let lines = std::fs::read_to_string(&trail).expect("a trail");
    assert!(lines.contains("clock_stepped"), "{lines}");
    assert!(!lines.contains(r#""outcome":"panicked""#), "{lines}");
    let verified = program().args(["audit", "verify"]).arg(&trail).output().expect("it runs");
    assert!(verified.status.success(), "{}{}", text_of(&verified.stdout), text_of(&verified.stderr));
}
