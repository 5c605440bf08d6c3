//! What it costs that a record is safe before its answer ends: the same gateway with each `audit.durability`, in turn.
//!
//! The base is a gateway whose answers wait for nothing, and whose trail is in memory; records cannot be left out.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use obo_gateway::demo::authorization_server::AuthorizationServer;

use crate::machine::{Cores, Machine};
use crate::proxies::{Gateway, Records, Upstream};
use crate::report::{self, Sample, median, thousands};
use crate::trail::Trail;
use crate::wrk::Load;
use crate::{Calls, Options, Outcome, WARM_UP_SECONDS};

/// A file system in memory.
const MEMORY: &str = "/dev/shm";
/// How often a sync is timed, to tell what the disk is like.
const SYNCS: usize = 200;

/// One way to keep records, and what came of it.
struct Way {
    name: &'static str,
    gateway: Gateway,
    samples: Vec<Sample>,
    calls: Calls,
}

/// Measures all ways.
pub async fn measure(options: &Options) -> Outcome<()> {
    let (machine, cores) = (Machine::look()?, Cores::choose());
    let output = crate::target_folder().join("load");
    std::fs::create_dir_all(&output)?;
    let (folder, memory) = (tempfile::tempdir_in(&output)?, tempfile::tempdir_in(MEMORY)?);
    let about = format!("{machine}\n{cores}\n{}", disk(folder.path())?);
    println!("{about}");
    let authorization_server = AuthorizationServer::start(crate::tenant(options.people)).await?;
    let upstream = Upstream::start(folder.path(), cores.load).await?;
    let tokens = crate::write_tokens(folder.path(), &authorization_server)?;
    let load = |connections, seconds| Load { connections, seconds, tokens: tokens.clone(), core: cores.load };

    let mut ways = Vec::new();
    for (name, durability, in_memory) in [
        ("base", "memory", true),
        ("memory", "memory", false),
        ("process", "process", false),
        ("disk", "disk", false),
    ] {
        let own = folder.path().join(name);
        let records = Records { folder: if in_memory { memory.path() } else { &own }, durability };
        let binary = crate::gateway_binary()?;
        let gateway =
            Gateway::start(&binary, &own, &authorization_server, &upstream, cores.proxy, &records).await?;
        let mut calls = crate::call_for_each(&authorization_server, &gateway, options.people).await?;
        let warm_up = load(options.connections, WARM_UP_SECONDS);
        calls.add(&crate::run_counted(&warm_up, &gateway, &upstream).await?, &warm_up);
        ways.push(Way { name, gateway, samples: Vec::new(), calls });
    }

    let mut tables = String::new();
    for (connections, seconds) in
        [(options.connections, options.seconds), (1, (options.seconds * 3).div_ceil(5))]
    {
        let load = load(connections, seconds);
        for repeat in 1..=options.repeats {
            eprintln!("Run {repeat} of {} with {}", options.repeats, report::connections(connections));
            // Each begins in turn, so that none always follows the same one.
            ways.rotate_left(1);
            for way in &mut ways {
                let counted = crate::run_counted(&load, &way.gateway, &upstream).await?;
                way.calls.add(&counted, &load);
                way.samples.push(counted.sample);
            }
        }
        let runs = format!(
            "{}, medians of {} runs of {seconds} s each; what is added is to the base's\n\n",
            report::connections(connections),
            options.repeats
        );
        tables = tables + &runs + &table(&mut ways) + "\n";
    }

    let mut faults = Vec::new();
    for way in ways {
        let trail = Trail::read(&way.gateway.stop().await?)?;
        faults.extend(
            report::unrecorded(&way.calls, &trail).iter().map(|fault| format!("{}: {fault}", way.name)),
        );
    }
    println!("\n{tables}");
    let path = output.join("durability.md");
    std::fs::write(&path, format!("{tables}```text\n{about}\n```\n"))?;
    println!("Also in {}", path.display());
    match faults.is_empty() {
        true => Ok(()),
        false => Err(format!("the figures do not count: {}", faults.join("; ")).into()),
    }
}

/// The table of what was measured since the last one, in Markdown.
fn table(ways: &mut [Way]) -> String {
    ways.sort_by_key(|way| ["base", "memory", "process", "disk"].iter().position(|name| *name == way.name));
    let medians: Vec<(&str, Sample)> =
        ways.iter_mut().map(|way| (way.name, median(&std::mem::take(&mut way.samples)))).collect();
    let base = medians[0].1;
    let mut text = String::from(
        "| durability | requests/s | ratio | p50 µs | added | p99 µs | added | CPU µs/request | ratio | busy |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (name, sample) in medians {
        writeln!(
            text,
            "| {name} | {} | {:.2} | {} | {} | {} | {} | {:.1} | {:.2} | {:.0} % |",
            thousands(sample.requests_per_second),
            sample.requests_per_second / base.requests_per_second,
            thousands(sample.p50_micros),
            thousands((sample.p50_micros - base.p50_micros).max(0.0)),
            thousands(sample.p99_micros),
            thousands((sample.p99_micros - base.p99_micros).max(0.0)),
            sample.cpu_micros,
            sample.cpu_micros / base.cpu_micros,
            sample.busy * 100.0,
        )
        .expect("writing to a string does not fail");
    }
    text
}

/// What a sync of one record costs on the disk of this folder.
fn disk(folder: &Path) -> Outcome<String> {
    let mut file = OpenOptions::new().append(true).create(true).open(folder.join("syncs"))?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        file.write_all(&[b'x'; 1_500])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort();
    let micros = |time: Duration| thousands(time.as_secs_f64() * 1e6);
    Ok(format!(
        "Disk:    a sync of 1,500 bytes takes {} µs (p99 {} µs)",
        micros(times[SYNCS / 2]),
        micros(times[SYNCS * 99 / 100]),
    ))
}
