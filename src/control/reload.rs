//! Taking a candidate over: sockets first, then every worker's VM, then all at once.

use super::candidate::{Candidate, Known};
use super::run::Serving;
use super::sockets::Sockets;
use crate::config::diagnostic::{At, Diagnostic, Diagnostics, Severity};
use crate::log;
use crate::log::{Level, main_log};
use crate::metrics;
use crate::snapshot::Snapshot;
use crate::sys::errno::Failure;
use std::sync::Arc;

impl Serving {
    /// Takes the configuration anew; on any fault the old one serves on.
    pub(super) async fn reload(&mut self) {
        main_log().say(Level::Notice, format_args!("reconfiguring"));
        let generation = self.generation + 1;
        let registry = Arc::clone(&self.registry);
        let rollouts = Arc::clone(&self.rollouts);
        let (limits, dicts) = (Arc::clone(&self.limits), Arc::clone(&self.dicts));
        let known = Known { registry, rollouts, limits, dicts, generation };
        let result = match Candidate::build(&self.source, known).await {
            Ok(candidate) => self.take_over(candidate).await,
            Err(diagnostics) => Err(diagnostics),
        };
        match result {
            Ok(diagnostics) => {
                report(&diagnostics);
                metrics::catalog().reloaded(Some(generation));
                self.handle.reloaded(true, &diagnostics);
                self.announce();
            }
            Err(diagnostics) => {
                report(&diagnostics);
                metrics::catalog().reloaded(None);
                self.handle.reloaded(false, &diagnostics);
                main_log().say(
                    Level::Error,
                    format_args!(
                        "the new configuration is refused; configuration {} serves on",
                        self.generation
                    ),
                );
            }
        }
    }

    /// Opens the sockets of the first configuration.
    ///
    /// # Errors
    /// Those that could not be opened.
    pub(super) fn listen(&mut self, candidate: &Candidate) -> Result<(), Diagnostics> {
        let opened = self.open(&candidate.snapshot, candidate.workers())?;
        self.sockets.add(opened);
        Ok(())
    }

    fn open(&self, snapshot: &Snapshot, workers: usize) -> Result<Sockets, Diagnostics> {
        self.sockets.open_new(snapshot, workers).map_err(|faults| explain(snapshot, &faults))
    }

    /// Says what serves now.
    pub(super) fn announce(&self) {
        let (generation, workers) = (self.generation, self.crew.len());
        let version = env!("CARGO_PKG_VERSION");
        main_log().say(
            Level::Notice,
            format_args!(
                "moongate/{version} serves configuration {generation} with {workers} worker(s)"
            ),
        );
    }

    /// Makes `candidate` serve; gives its notices and warnings.
    ///
    /// # Errors
    /// Why it does not; nothing has changed then.
    pub(super) async fn take_over(
        &mut self,
        candidate: Candidate,
    ) -> Result<Diagnostics, Diagnostics> {
        let workers = candidate.workers();
        let snapshot = Arc::clone(&candidate.snapshot);
        let opened = self.open(&snapshot, workers)?;
        let journals = self.rollout_thread.open(&snapshot.rollouts).await?;
        let plan = candidate.plan();
        self.crew
            .prepare(&plan)
            .await
            .map_err(|text| Diagnostics(vec![Diagnostic::fault(&At::default(), text)]))?;
        // From here on nothing fails.
        let Candidate { mut diagnostics, dicts, error_log, resolver, .. } = candidate;
        self.sockets.add(opened);
        if let Err((address, failure)) = self.sockets.grow(workers) {
            let text = format!("{failure}: fewer workers accept from it");
            diagnostics.push(Diagnostic::warning(&place(&snapshot, &address), text));
        }
        for address in self.sockets.changed(&snapshot) {
            let text =
                format!("options of \"listen {address}\" change when Moongate is started anew");
            diagnostics.push(Diagnostic::warning(&place(&snapshot, &address), text));
        }
        log::install(error_log);
        self.registry.commit(Arc::clone(&snapshot.groups));
        self.resolver.store(resolver);
        // The old configuration serves what its listeners have accepted.
        for address in self.sockets.remove_unwanted(&snapshot) {
            self.crew.close(&address);
        }
        self.rollout_thread.commit(&snapshot.rollouts, journals).await;
        self.crew.commit().await;
        self.crew.assign(&mut self.sockets, workers);
        self.crew.remove(workers, snapshot.model.main.worker_shutdown_timeout_ms);
        self.generation = snapshot.generation;
        self.dicts = dicts;
        self.plan = plan;
        self.handle.serves(snapshot, self.crew.len(), self.sockets.addresses());
        Ok(diagnostics)
    }
}

/// Writes each diagnostic into the error log that is installed, faults as `emerg` as nginx does.
pub fn report(diagnostics: &Diagnostics) {
    for it in &diagnostics.0 {
        let level = match it.severity {
            Severity::Fault => Level::Emerg,
            Severity::Alert => Level::Alert,
            Severity::Warning => Level::Warn,
            Severity::Notice => Level::Notice,
        };
        main_log().say(level, format_args!("{it}"));
    }
}

/// Where `address` is configured.
fn place(snapshot: &Snapshot, address: &str) -> At {
    snapshot.listener(address).map(|it| it.listen.at.clone()).unwrap_or_default()
}

/// Sockets that could not be opened as diagnostics that say what to do.
fn explain(snapshot: &Snapshot, faults: &[(Arc<str>, Failure)]) -> Diagnostics {
    let explained = faults.iter().map(|(address, failure)| {
        let advice = match failure.errno() {
            Some(libc::EADDRINUSE) => {
                "; another server, perhaps another Moongate, listens there: stop it or listen \
                 elsewhere"
            }
            Some(libc::EACCES) => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
            Some(libc::EADDRNOTAVAIL) => "; this machine has no such address",
            _ => "",
        };
        Diagnostic::fault(&place(snapshot, address), format!("{failure}{advice}"))
    });
    Diagnostics(explained.collect())
}
