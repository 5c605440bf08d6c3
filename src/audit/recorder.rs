//! The records of exchanges, and of what people do, while these are under way.
//!
//! Whatever has a record begins by taking a place for it, as a call does. The record of an exchange is handed over before
//! anybody gets what it yielded: in the trail it stands before the records of the calls that used it. That of what a person does
//! on a page is handed over before the record of the request for that page, which the answer waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::authentication::{Authentication, AuthenticationRecord, Exchange, ExchangeEnd, Failure};
use super::deed::{Deed, DeedEnd};
use super::keyed::Privacy;
use super::log::{AuditLog, AuditUnavailable, Slot};
use super::record::{Fault, Record, RequestId};
use crate::clock::Now;

/// How long the end of the gateway waits for what cannot be asked for a second time. A server that rotates refresh tokens, for one,
/// takes each of them once.
const GRACE: Duration = Duration::from_secs(2);

/// What is under way, for whoever ends it: some of it is for nobody who waits.
#[derive(Clone, Default)]
pub struct Exchanges {
    running: TaskTracker,
    over: CancellationToken,
}

impl Exchanges {
    /// Breaks off what is under way, and waits until all of it has been handed to the trail.
    pub async fn end(&self) {
        self.over.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

/// Where records go, and what they may say of people.
#[derive(Clone)]
pub struct Recorder {
    trail: Option<AuditLog>,
    privacy: Arc<Privacy>,
    exchanges: Exchanges,
}

impl Recorder {
    /// To this trail.
    pub fn new(trail: AuditLog, privacy: Arc<Privacy>, exchanges: Exchanges) -> Self {
        Self { trail: Some(trail), privacy, exchanges }
    }

    /// Nowhere, for a rehearsal: it asks authorization servers at somebody's own wish, and serves nobody. A test holds that
    /// nothing else makes this.
    pub fn for_rehearsal() -> Self {
        Self { trail: None, privacy: Privacy::of_this_run(), exchanges: Exchanges::default() }
    }

    /// Waits until exchanges are to be broken off.
    pub async fn exchanges_are_over(&self) {
        self.exchanges.over.cancelled().await;
    }

    /// What `work` comes to. When the gateway ends, it has two more seconds; `None`: that was not enough.
    pub async fn within_grace<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let over = async {
            self.exchanges_are_over().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            result = work => Some(result),
            () = over => None,
        }
    }

    /// Has the end of the gateway wait for something, for as long as what comes back is held.
    pub fn under_way(&self) -> UnderWay {
        UnderWay { _running: self.exchanges.running.token() }
    }

    /// What records may say of people.
    pub fn privacy(&self) -> &Arc<Privacy> {
        &self.privacy
    }

    /// Takes a place for a record. Nothing is recorded when it is dropped.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] while there is none; what would have been recorded must then not be done.
    pub fn reserve(&self) -> Result<Place, AuditUnavailable> {
        let slot = self.trail.as_ref().map(AuditLog::reserve).transpose()?;
        Ok(Place { slot, privacy: Arc::clone(&self.privacy), running: self.exchanges.running.token() })
    }

    /// Begins the record of an exchange.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] while there is no place for it; the exchange must then not be made.
    pub fn begin(&self, exchange: Exchange) -> Result<Recording, AuditUnavailable> {
        Ok(Recording(self.reserve()?.open(Authentication::Exchange(exchange))))
    }

    /// Begins the record of something that a person does.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] while there is no place for it; it must then not be done.
    pub fn begin_deed(&self, deed: Deed) -> Result<DeedRecording, AuditUnavailable> {
        Ok(self.reserve()?.begin(deed))
    }
}

/// Something that the end of the gateway waits for.
#[derive(Debug)]
pub struct UnderWay {
    _running: TaskTrackerToken,
}

/// A place for a record that may come.
#[derive(Debug)]
pub struct Place {
    slot: Option<Slot>,
    privacy: Arc<Privacy>,
    running: TaskTrackerToken,
}

impl Place {
    /// Begins the record of something that a person does, or that becomes of what they have connected.
    pub fn begin(self, deed: Deed) -> DeedRecording {
        DeedRecording(self.open(Authentication::Deed(Box::new(deed))))
    }

    fn open(self, what: Authentication) -> Open {
        let now = Now::read();
        let record = AuthenticationRecord {
            id: RequestId::next(),
            privacy: self.privacy,
            began_at: now.wall,
            duration: Duration::ZERO,
            what,
        };
        Open { slot: self.slot, record: Some(Box::new(record)), began: now.monotonic, _running: self.running }
    }
}

/// The record of an exchange that is under way. When it is dropped, however that came about, it is written.
#[derive(Debug)]
pub struct Recording(Open);

impl Recording {
    /// The record's identifier.
    pub fn id(&self) -> RequestId {
        self.0.record().id
    }

    /// It has come to this end. Returns the record's identifier.
    pub fn end(mut self, end: ExchangeEnd) -> RequestId {
        if let Authentication::Exchange(exchange) = &mut self.0.record_mut().what {
            exchange.end = end;
        }
        self.id()
    }
}

/// The record of something that a person is doing. When it is dropped, however that came about, it is written.
#[derive(Debug)]
pub struct DeedRecording(Open);

impl DeedRecording {
    /// The record's identifier.
    pub fn id(&self) -> RequestId {
        self.0.record().id
    }

    /// Adds what is known by now.
    pub fn add(&mut self, add: impl FnOnce(&mut Deed)) {
        if let Authentication::Deed(deed) = &mut self.0.record_mut().what {
            add(deed);
        }
    }

    /// It has come to this end. Returns the record's identifier.
    pub fn end(mut self, end: DeedEnd) -> RequestId {
        self.add(|deed| deed.end = end);
        self.id()
    }
}

#[derive(Debug)]
struct Open {
    slot: Option<Slot>,
    record: Option<Box<AuthenticationRecord>>,
    began: Instant,
    /// Counts it as long as its record may still be to come.
    _running: TaskTrackerToken,
}

impl Open {
    fn record(&self) -> &AuthenticationRecord {
        self.record.as_ref().expect("it is taken when this is dropped, and not before")
    }

    fn record_mut(&mut self) -> &mut AuthenticationRecord {
        self.record.as_mut().expect("it is taken when this is dropped, and not before")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let (Some(slot), Some(mut record)) = (self.slot.take(), self.record.take()) {
            if let Authentication::Deed(deed) = &mut record.what
                && deed.end == DeedEnd::BrokeOff
                && std::thread::panicking()
            {
                let failure = Failure::of("panicked", Fault::Gateway, "the gateway's own code failed");
                deed.end = DeedEnd::Failed(failure);
            }
            record.duration = self.began.elapsed();
            // Nobody waits for it: the record of the call or page that it was made for comes later, and that is waited for.
            drop(slot.write(&Record::Authentication(&record)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use super::*;
    use crate::audit::{AuditSettings, DeedKind};

    async fn outcomes(trail: &AuditLog, path: &Path) -> Vec<(String, String)> {
        trail.flush().await;
        let lines = std::fs::read_to_string(path).expect("a trail");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let parse = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
            (text(&record["unmapped"]["obo"]["kind"]), text(&record["unmapped"]["obo"]["outcome"]))
        };
        lines.lines().map(parse).collect()
    }

    #[tokio::test]
    async fn whatever_becomes_of_a_deed_it_has_one_record_and_a_place_alone_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let trail = AuditLog::open(AuditSettings::of(&path), Arc::default()).expect("a trail");
        let exchanges = Exchanges::default();
        let recorder = Recorder::new(trail.clone(), Privacy::of_this_run(), exchanges.clone());
        drop(recorder.reserve().expect("a place"));
        let begin = |kind| recorder.begin_deed(Deed::of(kind)).expect("a place");
        begin(DeedKind::SignOut).end(DeedEnd::Done(None));
        drop(begin(DeedKind::Connect));
        let panicking = begin(DeedKind::Disconnect);
        let result = catch_unwind(AssertUnwindSafe(move || {
            let _ends_with_this_block = panicking;
            panic!("as the test wants");
        }));
        assert!(result.is_err());
        let expected = [("sign_out", "signed_out"), ("connect", "broke_off"), ("disconnect", "panicked")];
        let expected = expected.map(|(kind, outcome)| (kind.to_owned(), outcome.to_owned()));
        assert_eq!(outcomes(&trail, &path).await, expected);
        exchanges.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_asked_twice_has_a_moment_more_when_the_gateway_ends() {
        let exchanges = Exchanges::default();
        let recorder = Recorder { exchanges: exchanges.clone(), ..Recorder::for_rehearsal() };
        exchanges.over.cancel();
        let takes = |time| recorder.within_grace(tokio::time::sleep(time));
        assert_eq!(takes(GRACE / 2).await, Some(()));
        assert_eq!(takes(GRACE * 2).await, None);
        let under_way = recorder.under_way();
        let ends = tokio::time::timeout(GRACE, exchanges.end());
        assert!(ends.await.is_err(), "it waits");
        drop(under_way);
        exchanges.end().await;
    }
}
