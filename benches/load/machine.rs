//! The machine, and who runs on which of its cores.

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;

use crate::{Outcome, haproxy};

/// What the figures were measured on.
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    nginx: String,
    haproxy: String,
    load_average: String,
}

impl Machine {
    pub fn look() -> Outcome<Self> {
        let cpu_info = read("/proc/cpuinfo")?;
        let cpu = cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let version = Command::new("nginx").arg("-v").output().map_err(|error| format!("nginx: {error}"))?;
        let version = String::from_utf8_lossy(&version.stderr).into_owned();
        Ok(Self {
            cpu: cpu.map_or("unknown CPU", |(_, model)| model).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            nginx: version.trim().rsplit('/').next().unwrap_or_default().to_owned(),
            haproxy: haproxy::version().unwrap_or_else(|why| format!("(none: {why})")),
            load_average: read("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, kernel, nginx, haproxy, load_average } = self;
        writeln!(
            f,
            "Machine: {cpu}, {cores} cores, Linux {kernel}; load average {load_average} at the start"
        )?;
        write!(f, "Against: obo-gateway {}, nginx {nginx}, haproxy {haproxy}", env!("CARGO_PKG_VERSION"))
    }
}

/// Which cores the proxy and the load run on.
pub struct Cores {
    pub proxy: Pin,
    pub load: Pin,
}

/// A core to run on, or any.
#[derive(Clone, Copy)]
pub struct Pin(Option<usize>);

impl Cores {
    /// Two cores of those this process may use. Without two of them, or without `taskset`, nothing is pinned.
    pub fn choose() -> Self {
        let allowed = allowed();
        let mut allowed = allowed.iter().copied();
        match (allowed.next(), allowed.next(), taskset_works()) {
            (Some(proxy), Some(load), true) => Self { proxy: Pin(Some(proxy)), load: Pin(Some(load)) },
            _ => Self { proxy: Pin(None), load: Pin(None) },
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.proxy.0, self.load.0) {
            (Some(proxy), Some(load)) => {
                write!(f, "Cores:   the proxy on core {proxy}; wrk and the upstream on core {load}")
            }
            _ => write!(
                f,
                "Cores:   nobody has a core of their own, for want of two cores or of taskset; the figures\n         \
                 compare a gateway of several threads with an nginx of one"
            ),
        }
    }
}

impl Pin {
    /// A command that runs `program` there.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match self.0 {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.arg("--cpu-list").arg(core.to_string()).arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}

impl Cores {
    /// Has this process, which puts on some of the load itself, keep off the proxy's core.
    pub fn keep_off_the_proxys(&self) -> Outcome<()> {
        let Some(core) = self.load.0 else { return Ok(()) };
        let mut command = Command::new("taskset");
        command.args([
            "--all-tasks",
            "--cpu-list",
            "--pid",
            &core.to_string(),
            &std::process::id().to_string(),
        ]);
        match command.stdout(std::process::Stdio::null()).status()?.success() {
            true => Ok(()),
            false => Err("this process cannot be moved to another core".into()),
        }
    }
}

/// The cores that this process may use.
fn allowed() -> BTreeSet<usize> {
    let status = read("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// `3` or `0-7`.
fn range(text: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

fn taskset_works() -> bool {
    Command::new("taskset").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn read(path: &str) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}").into())
}
