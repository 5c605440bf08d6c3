//! Something that takes calls: a proxy, or the upstream itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::Outcome;
use crate::calls::Call;
use crate::running::Running;

pub struct Proxy {
    pub name: &'static str,
    pub address: SocketAddr,
    pub tls: bool,
    pub running: Running,
    /// Where it records calls, if it does.
    pub trail: Option<PathBuf>,
    /// Where it tells its metrics, if it does.
    pub admin: Option<SocketAddr>,
}

impl Proxy {
    pub fn url(&self, call: Call) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, call.path())
    }

    /// The sum of a metric over all its series.
    pub async fn metric(&self, name: &str) -> Outcome<f64> {
        let admin = self.admin.ok_or_else(|| format!("{} has no metrics", self.name))?;
        let text = reqwest::get(format!("http://{admin}/metrics")).await?.error_for_status()?.text().await?;
        let series = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("obo_gateway_")?.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        });
        Ok(series.sum())
    }
}
