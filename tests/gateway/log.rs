//! What is logged, for those who look for secrets in it.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What has been logged.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics here").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Begins to log what happens on this thread, in every detail.
    pub fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// What the gateways of all tests log, in every detail, unless a test listens on its thread itself. Their clients and
    /// counterparts are left out: those may log what they send.
    pub fn of_all() -> &'static Self {
        static ALL: OnceLock<Log> = OnceLock::new();
        ALL.get_or_init(|| {
            let log = Self::default();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new("off,obo_gateway=trace,obo_gateway::demo=off"))
                .with_ansi(false)
                .with_writer(log.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).expect("nobody else listens to all of it");
            log
        })
    }

    /// How much has been logged.
    pub fn bytes(&self) -> usize {
        self.0.lock().expect("nobody panics here").len()
    }

    /// What has been logged since there was so much.
    pub fn since(&self, bytes: usize) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panics here")[bytes..]).into_owned()
    }

    /// All that has been logged.
    pub fn text(&self) -> String {
        self.since(0)
    }
}
