//! The same load on several proxies, in turn: run after run, so that what else happens on the machine happens to all.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::calls::Call;
use crate::chart::Chart;
use crate::finding::{Finding, Work};
use crate::gateway::Setup;
use crate::goals::Goal;
use crate::proxy::Proxy;
use crate::running::{Running, Under};
use crate::sample::{Sample, median};
use crate::scenario::{Contender, Figure, Proxied, Scenario};
use crate::table::{Table, connections, thousands};
use crate::trail::Trail;
use crate::world::World;
use crate::wrk::Load;
use crate::{Options, Outcome, haproxy, nginx};

/// How long proxies have to finish with what the load left behind, before their clocks are read.
const SETTLE: Duration = Duration::from_millis(100);
/// As many connections, and people, as the goals for memory speak of.
const MANY_CONNECTIONS: u32 = 256;
const PEOPLE_WEIGHED: u32 = 1_000;
/// What the columns show.
const COLUMNS: [&str; 7] = ["", "CPU µs/request", "ratio", "requests/s", "p50 µs", "p99 µs", "busy"];

/// Measures one scenario.
pub async fn measure(
    scenario: &'static Scenario,
    proxied: &Proxied,
    world: &World,
    options: &Options,
) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    if proxied.contenders.contains(&Contender::Haproxy)
        && let Err(why) = haproxy::version()
    {
        finding.notes.push(format!("Not measured: {why}."));
        return Ok(finding);
    }
    let folder = world.folder().join(scenario.name);
    let (tokens, exchanges) = (world.tokens(proxied.signed), world.exchanges());
    let load = Load {
        connections: 1,
        seconds: 1,
        tokens: world.write_tokens(&tokens)?,
        call: proxied.call.write(world.folder())?,
        core: world.cores.load,
    };
    let connections = options.connections_of(proxied.connections);
    let most = connections.iter().copied().max().unwrap_or(1);

    // The goals for memory are for so many people.
    let weighed = proxied.weighed && options.people == PEOPLE_WEIGHED;
    let mut runners = Vec::new();
    for &contender in proxied.contenders {
        let mut runner = Runner::start(contender, proxied, world, &folder).await?;
        if let Some(resident) = runner.resident_if(weighed)? {
            finding.figures.insert(Goal::IdleMemory, resident);
        }
        runner.call_for_each(&tokens).await?;
        runner.run(&Load { connections: most, seconds: options.warm_up(), ..load.clone() }).await?;
        runners.push(runner);
    }
    for &connections in &connections {
        // One connection waits for each answer, so its latencies are steady soon; three fifths of the time are enough.
        let seconds = if connections == 1 { (options.seconds * 3).div_ceil(5) } else { options.seconds };
        let load = Load { connections, seconds, ..load.clone() };
        for repeat in 1..=options.repeats {
            eprintln!("{}, {connections}: run {repeat} of {}", scenario.name, options.repeats);
            // Each begins in turn, so that none always follows the same one.
            runners.rotate_left(1);
            for runner in &mut runners {
                let sample = runner.run(&load).await?;
                runner.samples.entry(connections).or_default().push(sample);
                if let Some(resident) = runner.resident_if(weighed && connections == MANY_CONNECTIONS)? {
                    let most = finding.figures.entry(Goal::BusyMemory).or_default();
                    *most = most.max(resident);
                }
            }
        }
    }
    runners.sort_by_key(|runner| proxied.contenders.iter().position(|one| *one == runner.contender));
    let compared = Compared { first: &runners[0], last: &runners[runners.len() - 1] };
    for &connections in &connections {
        finding.tables.push(compared.table(&runners, connections));
    }
    finding
        .charts
        .push(compared.chart(&runners, &connections, "CPU per request", " µs", |sample| sample.cpu_micros));
    finding.charts.push(compared.chart(&runners, &connections, "p99", " µs", |sample| sample.p99_micros));
    for judged in proxied.judged.iter().filter(|judged| connections.contains(&judged.connections)) {
        finding.figures.insert(judged.goal, compared.figure(judged.figure, judged.connections));
    }
    finding.notes.push(match options.repeats {
        1 => format!("One run of {} s.", options.seconds),
        repeats => format!(
            "Medians of {repeats} runs of {} s each; ratios are medians of those between runs that followed each other.",
            options.seconds
        ),
    });
    let mut expected = 0;
    for runner in runners {
        expected += if runner.is_gateway() { tokens.len() } else { 0 };
        runner.stop(&mut finding).await?;
    }
    let exchanges = world.exchanges() - exchanges;
    if exchanges != expected {
        finding.faults.push(format!("{exchanges} exchanges where {expected} were to be expected"));
    }
    Ok(finding)
}

/// One run on one address, behind which this runs.
pub async fn run(load: &Load, url: &str, running: &Running) -> Outcome<Sample> {
    let before = running.cpu_time()?;
    let done = load.put_on(url).await?;
    tokio::time::sleep(SETTLE).await;
    Ok(Sample::new(&done, running.cpu_time()?.saturating_sub(before)))
}

/// A contender, and what its runs came to so far.
struct Runner<'a> {
    contender: Contender,
    call: Call,
    world: &'a World,
    /// None for the upstream, which is called itself.
    proxy: Option<Proxy>,
    work: Work,
    samples: BTreeMap<u32, Vec<Sample>>,
}

impl<'a> Runner<'a> {
    async fn start(
        contender: Contender,
        proxied: &Proxied,
        world: &'a World,
        folder: &Path,
    ) -> Outcome<Self> {
        let World { authorization_server, upstream, .. } = world;
        let (name, pin) = (contender.name(), world.cores.proxy);
        let certificate = proxied.tls.then_some(&world.certificates.server);
        let proxy = match contender {
            Contender::Gateway(variant) => {
                let setup = Setup {
                    name,
                    certificate,
                    durability: variant.durability(),
                    more_connectors: variant.more_connectors(),
                    ..Setup::usual(world)
                };
                Some(setup.start(&folder.join(name.replace([':', ' '], "-"))).await?)
            }
            Contender::Nginx => {
                Some(nginx::start_proxy(folder, upstream.address, certificate, pin, Under::Nothing).await?)
            }
            Contender::Haproxy => {
                Some(haproxy::start_proxy(folder, authorization_server, proxied.signed, upstream, pin).await?)
            }
            Contender::Nothing => None,
        };
        let (work, samples) = (Work::default(), BTreeMap::new());
        Ok(Self { contender, call: proxied.call, world, proxy, work, samples })
    }

    fn is_gateway(&self) -> bool {
        matches!(self.contender, Contender::Gateway(_))
    }

    fn url(&self) -> String {
        match &self.proxy {
            Some(proxy) => proxy.url(self.call),
            None => self.world.upstream.url(self.call.upstream_path()),
        }
    }

    fn running(&self) -> &Running {
        match &self.proxy {
            Some(proxy) => &proxy.running,
            None => self.world.upstream.running(),
        }
    }

    /// The gateway's memory in MiB, where somebody wants to know.
    fn resident_if(&self, wanted: bool) -> Outcome<Option<f64>> {
        match &self.proxy {
            Some(proxy) if wanted && self.is_gateway() => {
                Ok(Some(proxy.running.resident()? as f64 / 1_048_576.0))
            }
            _ => Ok(None),
        }
    }

    /// One call for each person, so that every token is exchanged, and a look at what comes back.
    async fn call_for_each(&mut self, tokens: &[String]) -> Outcome<()> {
        let authority = reqwest::Certificate::from_der(&self.world.certificates.authority)?;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build()?;
        // What keeps no tokens answers the second as it answers the first.
        let tokens = if self.is_gateway() { tokens } else { &tokens[..1] };
        for token in tokens {
            let mut request = match self.call.method() {
                "POST" => client.post(self.url()).body(self.call.body()),
                _ => client.get(self.url()),
            };
            for (name, value) in self.call.headers() {
                request = request.header(*name, *value);
            }
            let answer = request.bearer_auth(token).send().await?;
            let (status, text) = (answer.status(), answer.text().await?);
            if !status.is_success() || text != self.call.answer() {
                let name = self.contender.name();
                return Err(
                    format!("{name} answers something else than the upstream: {status} {text}").into()
                );
            }
        }
        self.work.add_calls(tokens.len() as u64);
        Ok(())
    }

    /// One run, whose requests the upstream counts as well.
    async fn run(&mut self, load: &Load) -> Outcome<Sample> {
        let forwarded = self.world.upstream.requests().await?;
        let sample = run(load, &self.url(), self.running()).await?;
        let forwarded = self.world.upstream.requests().await? - forwarded;
        self.work.add_run(&sample, forwarded, load.connections);
        Ok(sample)
    }

    /// Stops it as an operator would, so that every record is written, and holds the records against the calls.
    async fn stop(self, finding: &mut Finding) -> Outcome<()> {
        // Of the others nobody wants to know anything any more.
        let Some(Proxy { name, running, trail: Some(trail), .. }) = self.proxy else { return Ok(()) };
        running.stop().await?;
        let (told, faults) = self.work.compare(&Trail::read(&trail)?);
        finding.notes.push(format!("{name}: {told}."));
        finding.faults.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
        Ok(())
    }

    fn samples(&self, connections: u32) -> &[Sample] {
        self.samples.get(&connections).map_or(&[], Vec::as_slice)
    }
}

/// The contender that counts, and the one that it is compared with.
struct Compared<'a> {
    first: &'a Runner<'a>,
    last: &'a Runner<'a>,
}

impl Compared<'_> {
    fn figure(&self, figure: Figure, connections: u32) -> f64 {
        let pairs = || self.first.samples(connections).iter().zip(self.last.samples(connections));
        match figure {
            Figure::CpuRatio => median(pairs().map(|(one, other)| one.cpu_micros / other.cpu_micros)),
            Figure::P99Ratio => median(pairs().map(|(one, other)| one.p99_micros / other.p99_micros)),
            Figure::P50Added => median(pairs().map(|(one, other)| one.p50_micros - other.p50_micros)),
            Figure::RateRatio => {
                median(pairs().map(|(one, other)| one.requests_per_second / other.requests_per_second))
            }
        }
    }

    fn chart(
        &self,
        runners: &[Runner<'_>],
        connections: &[u32],
        heading: &str,
        unit: &'static str,
        figure: fn(&Sample) -> f64,
    ) -> Chart {
        let groups = connections.iter().map(|&count| {
            let values = runners.iter().map(|runner| figure(&Sample::median(runner.samples(count))));
            (self::connections(count), values.collect())
        });
        let series = runners.iter().map(|runner| runner.contender.name().to_owned());
        Chart { heading: heading.to_owned(), unit, series: series.collect(), groups: groups.collect() }
    }

    fn table(&self, runners: &[Runner<'_>], connections: u32) -> Table {
        let rows = runners.iter().map(|runner| {
            let sample = Sample::median(runner.samples(connections));
            let ratio = Compared { first: runner, last: self.last }.figure(Figure::CpuRatio, connections);
            vec![
                runner.contender.name().to_owned(),
                format!("{:.1}", sample.cpu_micros),
                format!("{ratio:.2}"),
                thousands(sample.requests_per_second),
                thousands(sample.p50_micros),
                thousands(sample.p99_micros),
                format!("{:.0} %", sample.busy * 100.0),
            ]
        });
        let heading = format!("{}, {}", self.first.call.method(), self::connections(connections));
        Table::new(heading, &COLUMNS, rows.collect())
    }
}
