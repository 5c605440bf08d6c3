//! Files that change while the gateway runs: found by looking, swapped under load, and half written.

use std::collections::HashSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use obo_gateway::demo::authorization_server::MAIL_AUDIENCE;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, Client, ClientBuilder, StatusCode};
use tempfile::TempDir;

use crate::bed::{Setup, TOOLS, TestBed};
use crate::log::Log;

/// How often the gateways of these tests look.
const EVERY: &str = "reload: { every: 100ms }\n";
/// Longer than any machine takes for some looks.
const PATIENCE: Duration = Duration::from_secs(30);
/// Several looks.
const A_WHILE: Duration = Duration::from_millis(700);
/// A connector more.
const POST: &str =
    "  post: { kind: rest, path: /post, upstream: UPSTREAM, audience: MAIL_AUDIENCE, scopes: [Mail.Read] }\n";

/// Two certificates of one authority, mounted as Kubernetes does it: names that lead through `..data`, which is swapped.
struct Mounted {
    folder: TempDir,
    authority: String,
    certificates: [Vec<u8>; 2],
}

impl Mounted {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority_pem = authority.self_signed(&key).expect("an authority").pem();
        let issuer = Issuer::new(authority, key);
        let certificates = ["first", "second"].map(|name| {
            let key = KeyPair::generate().expect("a key");
            let parameters = CertificateParams::new(["localhost".to_owned()]).expect("a name");
            let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
            let of_day = folder.path().join(name);
            std::fs::create_dir(&of_day).expect("a folder");
            std::fs::write(of_day.join("tls.pem"), certificate.pem()).expect("written");
            std::fs::write(of_day.join("tls.key"), key.serialize_pem()).expect("written");
            certificate.der().to_vec()
        });
        for name in ["tls.pem", "tls.key"] {
            symlink(Path::new("..data").join(name), folder.path().join(name)).expect("a link");
        }
        let mounted = Self { folder, authority: authority_pem, certificates };
        mounted.show(0);
        mounted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Swaps both files at once.
    fn show(&self, number: usize) {
        symlink(["first", "second"][number], self.path("..new")).expect("a link");
        std::fs::rename(self.path("..new"), self.path("..data")).expect("renamed");
    }

    /// Swaps one of the files.
    fn show_file(&self, number: usize, name: &str) {
        let beside = self.path("..new");
        std::fs::copy(self.path(["first", "second"][number]).join(name), &beside).expect("copied");
        std::fs::rename(beside, self.path(name)).expect("renamed");
    }

    fn bed(&self) -> Setup {
        let tls = format!(
            "tls: {{ certificate: {}, key: {} }}\n",
            self.path("tls.pem").display(),
            self.path("tls.key").display()
        );
        Setup::default()
            .config(move |parts| format!("{EVERY}{tls}{}", parts.whole(&parts.issuer(), &parts.mail(TOOLS))))
    }

    /// An agent that trusts the authority alone, and does nothing a second time.
    fn client(&self) -> ClientBuilder {
        let root = Certificate::from_pem(self.authority.as_bytes()).expect("a certificate");
        Client::builder()
            .no_proxy()
            .tls_certs_only([root])
            .tls_info(true)
            .retry(reqwest::retry::never())
            .timeout(PATIENCE)
    }

    /// Which certificate a new connection is shown.
    async fn shown(&self, bed: &TestBed) -> usize {
        let url = format!("https://localhost:{}/", bed.gateway.agent_address().port());
        let answer = self.client().build().expect("a client").get(url).send().await.expect("an answer");
        self.number(&answer)
    }

    fn number(&self, answer: &reqwest::Response) -> usize {
        let of_tls = answer.extensions().get::<TlsInfo>().expect("it came over TLS");
        let shown = of_tls.peer_certificate().expect("a certificate");
        self.certificates.iter().position(|known| known == shown).expect("one of the two")
    }
}

/// Does something while the gateway watches its files.
async fn watched<T>(bed: &TestBed, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        () = bed.gateway.watch() => panic!("it watches until it drains"),
    }
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn write_whole(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(beside, path).expect("renamed");
}

async fn plain_bed() -> TestBed {
    Setup::default()
        .config(|parts| format!("{EVERY}{}", parts.whole(&parts.issuer(), &parts.mail(TOOLS))))
        .start()
        .await
}

async fn succeeded(bed: &TestBed) -> Option<f64> {
    bed.metric("obo_gateway_config_last_reload_success").await
}

/// How many there have been, by the trail.
async fn reloads(bed: &TestBed) -> usize {
    let records = bed.all_records().await;
    records.iter().filter(|record| record.pointer("/unmapped/obo/mark") == Some(&"reloaded".into())).count()
}

#[tokio::test]
async fn a_changed_file_is_taken_without_a_signal() {
    let bed = plain_bed().await;
    let token = bed.token("ada");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let status = async |path: &str| bed.get(path, &token).await.status();
    watched(&bed, async {
        write_whole(&bed.config_path(), &text.replace("path: /mail", "path: /post"));
        until("it is taken", async || status("/post/me/messages").await == StatusCode::OK).await;
        assert_eq!(status("/mail/me/messages").await, StatusCode::NOT_FOUND);

        // A file that the configuration names, and is written over in place.
        std::fs::write(bed.folder.path().join("secret"), "one that the server does not take")
            .expect("written");
        until("the secret is taken", async || reloads(&bed).await == 2).await;
        let refused = bed.get("/post/me/messages", &bed.token("bob")).await;
        assert_eq!(
            refused.status(),
            StatusCode::INTERNAL_SERVER_ERROR,
            "the new secret is not the right one"
        );
    })
    .await;
}

#[tokio::test]
async fn a_change_that_cannot_be_used_is_logged_once_and_the_old_one_serves_on() {
    let bed = plain_bed().await;
    let token = bed.token("ada");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    // Logs of all tests are in one place; this is in no other.
    let lines = || {
        let (log, ours) = (Log::of_all().text(), bed.config_path().display().to_string());
        let of_ours = |line: &&str| line.contains("Configuration not reloaded") && line.contains(&ours);
        log.lines().filter(of_ours).count()
    };
    watched(&bed, async {
        write_whole(&bed.config_path(), &text.replace("path: /mail", "paht: /mail"));
        until("it is found", async || succeeded(&bed).await == Some(0.0)).await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(lines(), 1);
        assert_eq!(bed.get("/mail/me/messages", &token).await.status(), StatusCode::OK);
        write_whole(&bed.config_path(), &text.replace("path: /mail", "pfad: /mail"));
        until("the next one is logged as well", async || lines() == 2).await;
        write_whole(&bed.config_path(), &text);
        until("the first one is back", async || succeeded(&bed).await == Some(1.0)).await;
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_taken_with_its_key_and_nobody_hears_of_the_time_between() {
    let mounted = Mounted::make();
    let bed = mounted.bed().start().await;
    let logged = Log::of_all().bytes();
    watched(&bed, async {
        mounted.show_file(1, "tls.pem");
        tokio::time::sleep(A_WHILE).await;
        assert_eq!((mounted.shown(&bed).await, succeeded(&bed).await), (0, Some(1.0)));
        mounted.show_file(1, "tls.key");
        until("both are taken", async || mounted.shown(&bed).await == 1).await;
    })
    .await;
    let ours = mounted.path("tls.key").display().to_string();
    let log = Log::of_all().since(logged);
    assert!(!log.lines().any(|line| line.contains("not reloaded") && line.contains(&ours)), "{log}");
    // Whoever asks for it hears what is wrong at once.
    mounted.show_file(0, "tls.key");
    let error = bed.gateway.reload().await.expect_err("another certificate's key");
    assert!(error.to_string().contains("is not the key of the certificate"), "{error}");
}

#[tokio::test]
async fn files_are_left_alone_where_that_is_wanted() {
    let bed = plain_bed().await;
    let token = bed.token("ada");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let unwatched = text.replace(EVERY, "reload: { on_change: false }\n");
    watched(&bed, async {
        write_whole(&bed.config_path(), &unwatched);
        bed.gateway.reload().await.expect("a good configuration");
        write_whole(&bed.config_path(), &text.replace("path: /mail", "path: /post"));
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(bed.get("/mail/me/messages", &token).await.status(), StatusCode::OK);
        bed.gateway.reload().await.expect("a good configuration");
        assert_eq!(bed.get("/post/me/messages", &token).await.status(), StatusCode::OK);
        write_whole(&bed.config_path(), &text);
        until("it is watched again", async || {
            bed.get("/mail/me/messages", &token).await.status() == StatusCode::OK
        })
        .await;
    })
    .await;
}

/// Calls one after the other until it is time, each of which must be answered in full. Returns how many there were, and which
/// certificates were shown.
async fn lane(
    mounted: Arc<Mounted>,
    client: Client,
    url: String,
    token: String,
    stop: Arc<AtomicBool>,
) -> (usize, HashSet<usize>) {
    let (mut calls, mut shown) = (0, HashSet::new());
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get(&url).bearer_auth(&token).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("call {calls} failed: {error:?}"));
        assert_eq!(answer.status(), StatusCode::OK, "call {calls}");
        shown.insert(mounted.number(&answer));
        let body: serde_json::Value = answer.json().await.expect("a whole answer");
        assert!(body["value"].is_array(), "{body}");
        calls += 1;
        // The machine has other tests to run.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (calls, shown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_and_swapped_certificates_under_load_fail_no_call() {
    const RELOADS: usize = 100;
    let mounted = Arc::new(Mounted::make());
    let bed = mounted.bed().start().await;
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let more = POST.replace("UPSTREAM", &bed.connector.base_url()).replace("MAIL_AUDIENCE", MAIL_AUDIENCE);
    let texts = [text.clone(), text.replace("connectors:\n", &format!("connectors:\n{more}"))];
    assert_ne!(texts[0], texts[1]);
    let token = bed.token("ada");
    let origin = format!("https://localhost:{}", bed.gateway.agent_address().port());
    let stop = Arc::new(AtomicBool::new(false));
    let mut lanes = Vec::new();
    for http1 in [true, false] {
        for kept in [true, false] {
            let builder = if http1 { mounted.client().http1_only() } else { mounted.client() };
            // Whoever keeps nothing begins each call with a handshake.
            let builder = if kept { builder } else { builder.pool_max_idle_per_host(0) };
            let (client, url) = (builder.build().expect("a client"), format!("{origin}/mail/me/messages"));
            let (mounted, stop) = (Arc::clone(&mounted), Arc::clone(&stop));
            lanes.push((kept, tokio::spawn(lane(mounted, client, url, token.clone(), stop))));
        }
    }
    let mut probes = 0;
    let mut is_taken = async |number: usize| {
        probes += 1;
        let probe = mounted.client().build().expect("a client").get(format!("{origin}/post/me/messages"));
        let answer = probe.bearer_auth(&token).send().await.expect("an answer");
        let expected = [StatusCode::NOT_FOUND, StatusCode::OK][number];
        mounted.number(&answer) == number && answer.status() == expected
    };
    watched(&bed, async {
        for reload in 1..=RELOADS {
            let number = reload % 2;
            mounted.show(number);
            write_whole(&bed.config_path(), &texts[number]);
            if reload % 4 < 2 {
                bed.gateway.reload().await.expect("a good configuration");
                assert!(is_taken(number).await, "reload {reload}");
            } else {
                until("it is taken", async || is_taken(number).await).await;
            }
        }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for (kept, lane) in lanes {
        let (of_lane, shown) = lane.await.expect("no call failed");
        assert!(of_lane >= RELOADS, "{of_lane} calls are no load");
        // Which one a connection that is kept began with, depends on how soon it began.
        let expected = if kept { 1 } else { 2 };
        assert_eq!(
            shown.len(),
            expected,
            "a connection that is kept outlives reloads, new ones see each certificate"
        );
        calls += of_lane;
    }
    let records = bed.all_records().await;
    let of_calls = records.iter().filter(|record| record["class_uid"] == 6003).count();
    assert_eq!(of_calls, calls + probes, "each call has its record");
    let reloads = reloads(&bed).await;
    assert!(reloads >= RELOADS, "{reloads} reloads");
}
