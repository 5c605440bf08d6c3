//! nginx, as the upstream and as the measure.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use obo_gateway::demo::certificates::KeyedCertificate;

use crate::Outcome;
use crate::calls::{ANSWER, Call, LARGE, RESULT};
use crate::machine::Pin;
use crate::proxy::Proxy;
use crate::running::{self, Running, Under};

/// What all nginx have: one worker, in the foreground, all files in one folder, connections kept for good, and room
/// in memory for the largest body.
fn config(folder: &Path, http: &str) -> String {
    format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  default_type application/json;
  client_body_temp_path {folder}/body;
  client_body_buffer_size 128k;
  proxy_temp_path {folder}/proxy;
  proxy_buffers 32 4k;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
{http}}}
",
        folder = folder.display(),
    )
}

/// Starts one with these servers, of which one listens there.
pub async fn start(
    name: &'static str,
    folder: &Path,
    http: &str,
    address: SocketAddr,
    pin: Pin,
) -> Outcome<Running> {
    start_under(Under::Nothing, name, folder, http, address, pin).await
}

async fn start_under(
    under: Under<'_>,
    name: &'static str,
    folder: &Path,
    http: &str,
    address: SocketAddr,
    pin: Pin,
) -> Outcome<Running> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("nginx.conf");
    // A worker of root's nginx gives up its rights, and could then not write what was counted.
    let user = if matches!(under, Under::Nothing) { "" } else { "user root root;\n" };
    std::fs::write(&path, format!("{user}{}", config(folder, http)))?;
    let mut command = under.command(pin, "nginx");
    // `-e`: the log until the configuration is read, which would else be one that only root may write.
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(path);
    let log = folder.join("log");
    let mut running = Running::start(name, command, &log)?;
    running.listens(address, &log).await?;
    Ok(running)
}

/// The connectors: an nginx that answers from memory, or from small files that stay in it.
pub struct Upstream {
    pub address: SocketAddr,
    running: Running,
    client: reqwest::Client,
    /// How often it was asked how many requests it has had.
    asked: AtomicU64,
}

impl Upstream {
    pub async fn start(folder: &Path, pin: Pin) -> Outcome<Self> {
        let (address, folder) = (running::free_address()?, folder.join("upstream"));
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("answer.json"), &**ANSWER)?;
        std::fs::write(folder.join("large.json"), &**LARGE)?;
        // Where a body comes in, it is read first: that is what `mirror` does. The file then answers, to a POST too.
        let http = format!(
            "  open_file_cache max=100;
  server {{
    listen {address};
    root {root};
    location / {{ return 200 '{answer}'; }}
    location = {tools} {{ return 200 '{result}'; }}
    location = {upload} {{ mirror /read; error_page 405 =200 /answer.json; try_files /answer.json =404; }}
    location = /read {{ internal; return 204; }}
    location = /answer.json {{ internal; }}
    location = {download} {{ try_files /large.json =404; }}
    location = /requests {{ stub_status; }}
  }}
",
            root = folder.display(),
            answer = *ANSWER,
            result = *RESULT,
            tools = Call::UseTool.upstream_path(),
            upload = Call::Upload.upstream_path(),
            download = Call::Download.upstream_path(),
        );
        let running = start("the upstream", &folder, &http, address, pin).await?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { address, running, client, asked: AtomicU64::new(0) })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn running(&self) -> &Running {
        &self.running
    }

    /// How many requests it has had, besides the ones that ask for this.
    pub async fn requests(&self) -> Outcome<u64> {
        let page = self.client.get(self.url("/requests")).send().await?.error_for_status()?.text().await?;
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        // "server accepts handled requests", and below it these three numbers.
        let counts = page.lines().nth(2).and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
        let requests: u64 = counts.ok_or_else(|| format!("not a status page of nginx: {page}"))?;
        Ok(requests.saturating_sub(asked))
    }
}

/// The measure: nginx that passes on what it gets.
pub async fn start_proxy(
    folder: &Path,
    upstream: SocketAddr,
    certificate: Option<&KeyedCertificate>,
    pin: Pin,
    under: Under<'_>,
) -> Outcome<Proxy> {
    let address = running::free_address()?;
    let (ssl, certificates) = match certificate {
        None => ("", String::new()),
        Some(certificate) => (
            " ssl",
            format!(
                "\n    ssl_certificate {};\n    ssl_certificate_key {};\n    ssl_protocols TLSv1.2 TLSv1.3;",
                certificate.certificate_path.display(),
                certificate.key_path.display()
            ),
        ),
    };
    let http = format!(
        "  upstream connector {{
    server {upstream};
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  proxy_http_version 1.1;
  proxy_set_header Connection \"\";
  server {{
    listen {address}{ssl};{certificates}
    location /mail/ {{ proxy_pass http://connector/; }}
    location / {{ proxy_pass http://connector; }}
  }}
",
    );
    let running = start_under(under, "nginx", &folder.join("nginx"), &http, address, pin).await?;
    Ok(Proxy { name: "nginx", address, tls: certificate.is_some(), running, trail: None, admin: None })
}
