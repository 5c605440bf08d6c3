//! Checkpoints of the audit trail on standard output, for whoever collects that and so keeps them elsewhere than the trail.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use obo_gateway::audit::AuditFile;
use obo_gateway::process::Process;

/// How often it is looked whether there is a new one, and how long the last one may take.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What has been printed, and what is being printed.
#[derive(Default)]
pub struct PrintedCheckpoints {
    last: Option<Arc<String>>,
    printing: Option<JoinHandle<()>>,
}

impl PrintedCheckpoints {
    /// Prints the newest one, unless it has been, or one is still being printed: whoever reads the output may have stopped, and must not
    /// stop the gateway. Where records go to standard output, no note stands among them; the log has it.
    pub fn print_newest(&mut self, process: &Process) {
        if self.printing.as_ref().is_some_and(|printing| !printing.is_finished()) {
            return;
        }
        let audit = process.audit();
        let newest = audit.checkpoint().filter(|_| audit.settings().file != AuditFile::StandardOutput);
        if let Some(note) = newest.filter(|newest| self.last.as_ref() != Some(newest)) {
            self.last = Some(Arc::clone(&note));
            self.printing = Some(tokio::task::spawn_blocking(move || {
                // A reader that has left is no failure: the trail has it as well.
                let _ = writeln!(io::stdout(), "{note}");
            }));
        }
    }

    /// Prints the last one, now that there will be no more.
    pub async fn finish(mut self, process: &Process) {
        self.settle().await;
        self.print_newest(process);
        self.settle().await;
    }

    /// Waits for what is being printed. Who does not read by now does not get it.
    async fn settle(&mut self) {
        if let Some(printing) = self.printing.take() {
            let _ = tokio::time::timeout(LOOK_EVERY, printing).await;
        }
    }
}
