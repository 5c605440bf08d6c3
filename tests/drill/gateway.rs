//! The gateway as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Outcome;

/// How long it may take to be ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(50);

/// A running gateway. It is killed with the drill.
pub struct Gateway {
    child: Mutex<Child>,
    id: u32,
    binary: PathBuf,
    log: PathBuf,
}

impl Gateway {
    /// Starts it, and waits until it takes calls.
    pub async fn start(config: &Path, log: PathBuf, is_ready: impl AsyncFn() -> bool) -> Outcome<Self> {
        let binary = binary();
        let child = Command::new(&binary)
            .args(["run", "--log-format", "json", "--config"])
            .arg(config)
            .env_remove("OBO_GATEWAY_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let gateway = Self { id: child.id(), child: Mutex::new(child), binary, log };
        let started = Instant::now();
        while !is_ready().await {
            if gateway.has_ended()? || started.elapsed() > PATIENCE {
                return Err(format!("the gateway is not ready:\n{}", gateway.log()?).into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(gateway)
    }

    /// Which build it is.
    pub fn describe(&self) -> String {
        format!("gateway: {}", self.binary.display())
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) -> Outcome<()> {
        match Command::new("kill").args(["-s", name, &self.id.to_string()]).status()?.success() {
            true => Ok(()),
            false => Err(format!("the gateway takes no SIG{name}: it has ended\n{}", self.log()?).into()),
        }
    }

    /// Stops it as operators do.
    pub async fn stop(&self) -> Outcome<()> {
        self.signal("TERM")?;
        let started = Instant::now();
        while !self.has_ended()? {
            if started.elapsed() > PATIENCE {
                return Err("the gateway does not stop".into());
            }
            tokio::time::sleep(LOOK).await;
        }
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the gateway ended with {status}\n{}", self.log()?).into()),
        }
    }

    /// What its resident memory is, in KiB.
    pub fn resident_kibibytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }

    /// A run of another subcommand of the same build.
    pub fn command(&self) -> Command {
        Command::new(&self.binary)
    }

    /// The lines of its log that tell of a panic.
    pub fn panics(&self) -> Outcome<Vec<String>> {
        let lines = self.log()?;
        Ok(lines.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect())
    }

    fn log(&self) -> Outcome<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    fn has_ended(&self) -> Outcome<bool> {
        Ok(self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?.is_some())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The build to drill: the one that was named, or else that of the tests.
fn binary() -> PathBuf {
    std::env::var_os("OBO_GATEWAY_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_obo-gateway").into(), PathBuf::from)
}
