//! Programs that run beside the benchmark, and never longer than it.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::machine::Pin;

/// Length of a clock tick in `/proc`: `USER_HZ` is 100 on every architecture that Linux has today.
const TICK: Duration = Duration::from_millis(10);
/// How long a program may take to listen, or to stop; under callgrind that takes a while.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a program may take to stop when all is over anyway.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(20);

/// What a program runs under.
#[derive(Clone, Copy)]
pub enum Under<'a> {
    Nothing,
    /// Counts instructions, and writes them here when the program ends; each process to a file of its own, whose name goes on
    /// with a number.
    Callgrind(&'a Path),
}

impl Under<'_> {
    pub fn command(self, pin: Pin, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Nothing => pin.command(program),
            Self::Callgrind(out) => {
                let mut command = pin.command("valgrind");
                command.args(["--tool=callgrind", "--trace-children=yes", "--quiet"]);
                command.arg(format!("--callgrind-out-file={}.%p", out.display())).arg(program);
                command
            }
        }
    }
}

/// A program with its children, in a process group of its own. All of them are stopped when it is dropped.
pub struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    /// Starts a program. What it prints goes to files next to `log`.
    pub fn start(name: &'static str, mut command: Command, log: &Path) -> Outcome<Self> {
        let output = |ending| std::fs::File::create(log.with_extension(ending));
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output("out")?)
            .stderr(output("err")?)
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        Ok(Self { name, child })
    }

    /// Waits until something accepts connections there.
    pub async fn listens(&mut self, address: SocketAddr, log: &Path) -> Outcome<()> {
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if self.child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                let why = std::fs::read_to_string(log.with_extension("err")).unwrap_or_default();
                return Err(format!("{} does not listen on {address}:\n{why}", self.name).into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until the program ends.
    pub async fn ends(&mut self, patience: Duration) -> Outcome<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > patience {
                return Err(format!("{} does not end", self.name).into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks the program to stop, and waits until it has.
    pub async fn stop(mut self) -> Outcome<()> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        let status = self.ends(PATIENCE).await?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{} ended with {status}", self.name).into()),
        }
    }

    /// The memory that the program and its children hold, in bytes.
    ///
    /// What forked processes share counts for each of them; the gateway is one process.
    pub fn resident(&self) -> Outcome<u64> {
        let mut bytes = None;
        for entry in std::fs::read_dir("/proc")? {
            let folder = entry?.path();
            let Ok(stat) = std::fs::read_to_string(folder.join("stat")) else { continue };
            if ticks_in_group(&stat, self.child.id()).is_none() {
                continue;
            }
            let status = std::fs::read_to_string(folder.join("status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kibibytes: u64 =
                line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
            bytes = Some(bytes.unwrap_or(0) + kibibytes * 1_024);
        }
        bytes.ok_or_else(|| format!("{} does not run any more", self.name).into())
    }

    /// Signals the program and its children, as far as they are still there.
    fn signal_group(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
    }

    /// The CPU time that the program and its children have used, in user and kernel mode.
    pub fn cpu_time(&self) -> Outcome<Duration> {
        let mut ticks = None;
        for entry in std::fs::read_dir("/proc")? {
            // Most entries are no processes, and a process may end while we look. Those that matter here do not.
            let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
            if let Some(more) = ticks_in_group(&stat, self.child.id()) {
                ticks = Some(ticks.unwrap_or(0) + more);
            }
        }
        match ticks {
            Some(ticks) => Ok(TICK * ticks),
            None => Err(format!("{} does not run any more", self.name).into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first, because nginx then sees its worker off.
        let started = Instant::now();
        self.signal_group("-TERM");
        while matches!(self.child.try_wait(), Ok(None)) && started.elapsed() < LAST_PATIENCE {
            std::thread::sleep(LOOK);
        }
        self.signal_group("-KILL");
        let _ = self.child.wait();
    }
}

/// The user and kernel ticks in a `/proc/PID/stat`, if the process is of this group.
fn ticks_in_group(stat: &str, group: u32) -> Option<u32> {
    // The name comes second, in parentheses, and may hold anything; so count from behind it. See proc(5).
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    match number(5)? == group {
        true => Some(number(14)? + number(15)?),
        false => None,
    }
}

/// An address on loopback where nothing listens.
pub fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
