//! Listeners that a service manager holds and passes on, so that connections outlive a restart.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bed::TestBed;
use crate::command::{Running, program, text_of};

/// Starts the gateway as a service manager does: descriptors from 3 on, and variables that tell of them. A shell that becomes the
/// gateway has the process id that the gateway will have.
fn passing(config: &Path, descriptors: Vec<OwnedFd>, variables: &[(&str, &str)]) -> Command {
    const BECOME: &str =
        r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$; export LISTEN_PID; exec "$@""#;
    let gateway = program();
    let mut shell = Command::new("sh");
    shell.args(["-c", BECOME, "sh"]).arg(gateway.get_program());
    shell.args(["run", "--log-format", "json", "--config"]).arg(config);
    shell.env_remove("OBO_GATEWAY_LOG").envs(variables.iter().copied());
    let mut descriptors = descriptors.into_iter().map(Stdio::from);
    shell.stdin(descriptors.next().unwrap_or_else(Stdio::null));
    shell.stdout(descriptors.next().unwrap_or_else(Stdio::null));
    shell
}

/// The name that the socket unit gives to what agents call.
fn name_in_unit() -> &'static str {
    let unit = include_str!("../../deploy/obo-gateway.socket");
    unit.lines().find_map(|line| line.strip_prefix("FileDescriptorName=")).expect("a name")
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn copy(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a copy").into()
}

/// A configuration of a gateway of its own on these addresses.
fn config(bed: &TestBed, listen: SocketAddr, admin: SocketAddr) -> PathBuf {
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let text = text
        .replace("audit.jsonl", "own.jsonl")
        .replace("listen: 127.0.0.1:0", &format!("listen: {listen}"))
        .replace("admin: 127.0.0.1:0", &format!("admin: {admin}"));
    let path = bed.folder.path().join("own.yaml");
    std::fs::write(&path, text).expect("written");
    path
}

#[tokio::test]
async fn connections_outlive_a_restart_on_listeners_that_are_passed() {
    let bed = TestBed::start().await;
    let ((agents, listen), (admin, admin_address)) = (listener(), listener());
    let config = config(&bed, listen, admin_address);
    let start = async || {
        // In the order that they do not have in the configuration.
        let descriptors = vec![copy(&admin), copy(&agents)];
        let names = format!("admin:{}", name_in_unit());
        let variables = [("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", names.as_str())];
        Running::start_by(passing(&config, descriptors, &variables)).await
    };
    let mut running = start().await;
    assert_eq!(running.address, listen.to_string());
    let ready = crate::bed::client().get(format!("http://{admin_address}/readyz")).send().await;
    assert_eq!(ready.expect("an answer").status(), 200);
    for descriptor in [3, 4] {
        let path = format!("/proc/{}/fdinfo/{descriptor}", running.id());
        let info = std::fs::read_to_string(path).expect("a descriptor");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
        let flags = u32::from_str_radix(flags.trim(), 8).expect("a number");
        assert_ne!(flags & 0o2_000_000, 0, "descriptor {descriptor} goes on to other programs");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (token, url) = (bed.token("ada"), format!("http://{listen}/mail/me/messages"));
    let calls = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                // A connection for each: where nobody listened, it would be refused.
                let client = crate::bed::client().get(&url).bearer_auth(&token);
                let answer = client.send().await.unwrap_or_else(|error| panic!("call {calls}: {error:?}"));
                assert_eq!(answer.status(), 200, "call {calls}");
                answer.bytes().await.expect("a whole answer");
                calls += 1;
            }
            calls
        })
    };
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        running.signal("-TERM");
        assert_eq!(running.exit_code().await, Some(0));
        // Whoever comes now waits.
        tokio::time::sleep(Duration::from_millis(100)).await;
        running = start().await;
    }
    stop.store(true, Ordering::Relaxed);
    let calls: usize = calls.await.expect("no call failed");
    running.signal("-TERM");
    assert_eq!(running.exit_code().await, Some(0));
    let trail = std::fs::read_to_string(bed.folder.path().join("own.jsonl")).expect("a trail");
    assert_eq!(trail.matches(r#""class_uid":6003"#).count(), calls, "each call has its record");
}

#[tokio::test]
async fn what_is_not_passed_is_bound_and_what_is_for_others_is_left_alone() {
    let bed = TestBed::start().await;
    let (agents, listen) = listener();
    let config = config(&bed, listen, SocketAddr::from(([127, 0, 0, 1], 0)));
    // By its address, since systemd gives it the name of the unit.
    let variables = [("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "obo-gateway.socket")];
    let mut running = Running::start_by(passing(&config, vec![copy(&agents)], &variables)).await;
    assert_eq!(running.address, listen.to_string());
    running.signal("-TERM");
    assert_eq!(running.exit_code().await, Some(0));
    drop(agents);

    let mut command = program();
    command.args(["run", "--log-format", "json", "--config"]).arg(&config);
    command.envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "7"), ("LISTEN_FDNAMES", "somebody")]);
    let mut running = Running::start_by(command).await;
    assert_eq!(running.address, listen.to_string());
    running.signal("-TERM");
    assert_eq!(running.exit_code().await, Some(0));
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_said_at_the_start() {
    let bed = TestBed::start().await;
    let ((agents, listen), (admin, admin_address)) = (listener(), listener());
    let config = config(&bed, listen, admin_address);
    let check = |descriptors: Vec<OwnedFd>, variables: &[(&str, &str)], expected: &str| {
        let output = passing(&config, descriptors, variables).output().expect("it runs");
        let said = text_of(&output.stderr);
        assert!(said.contains(expected), "{said}");
        assert_eq!(output.status.code(), Some(64), "{said}");
    };
    let (elsewhere, elsewhere_address) = listener();
    let one = [("LISTEN_FDS", "1")];
    check(
        vec![copy(&elsewhere)],
        &one,
        &format!(
            "passes a listener on {elsewhere_address}, and the configuration has `listen: {listen}` and \
             `admin: {admin_address}`"
        ),
    );
    check(
        vec![copy(&agents)],
        &[one[0], ("LISTEN_FDNAMES", "admin")],
        &format!(
            "a listener that is called \"admin\" on {listen}, and the configuration has `admin: {admin_address}`"
        ),
    );
    check(vec![copy(&agents), copy(&agents)], &[("LISTEN_FDS", "2")], "passes two listeners for `listen`");
    let no_listener = "descriptor 3 that the service manager passes is no listener for TCP";
    check(vec![UdpSocket::bind("127.0.0.1:0").expect("a socket").into()], &one, no_listener);
    check(vec![File::open(&config).expect("a file").into()], &one, no_listener);
    let connection = std::net::TcpStream::connect(listen).expect("a connection");
    check(vec![connection.into()], &one, no_listener);
    check(vec![copy(&agents), copy(&admin)], &[("LISTEN_FDS", "3")], "passes 3 listeners");
    check(vec![copy(&agents)], &[("LISTEN_FDS", "one")], "LISTEN_FDS must be a number (found \"one\")");
}
