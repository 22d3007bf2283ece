//! `moongate explain`: where a request would go, and why.

use super::defaults::make_log_folder;
use super::{Failed, fail, report};
use crate::clock;
use crate::config::Loaded;
use crate::config::model::{ErrorLog, ErrorLogTarget, Http, Settings};
use crate::control::{Candidate, Known, Source};
use crate::log;
use crate::log::Level;
use crate::proxy::explain::Asked;
use crate::request::explain::Explanation;
use crate::rollout::journal::{Journal, Recovered};
use crate::rollout::live::{Live, Now};
use crate::worker;
use std::sync::Arc;

/// Explains what the configuration would do with a request; rollouts stand as their journals say.
/// No upstream is asked, and nobody whom scripts would ask by cosockets: they are told that it
/// failed. Names of upstreams' servers are resolved, as by `-t`.
///
/// # Errors
/// The configuration could not serve, or the request is none.
pub fn explain(source: &Source, asked: &Asked) -> Result<Explanation, Failed> {
    log::install(log::ErrorLog::silent());
    let mut loaded = source.load().map_err(refused)?;
    log_to_stderr(&mut loaded);
    make_log_folder(&loaded.model, &source.prefix).map_err(fail)?;
    let runtime = super::server::runtime().map_err(fail)?;
    let known = Known::nothing();
    let candidate = Candidate::compile(loaded, source.prefix.clone(), known);
    let candidate = runtime.block_on(candidate).map_err(refused)?;
    drop(runtime);
    log::install(candidate.error_log.clone());
    let now = Now { tick: clock::monotonic(), unix_ms: clock::unix_ms() };
    for it in candidate.snapshot.rollouts.iter() {
        // One that is not there yet tells nothing; the build has seen that it can be read.
        let recovered = Journal::look(&it.journal, it.entry.name());
        let recovered = recovered.unwrap_or(Recovered::Nothing);
        let seam = it.entry.seam().clone();
        drop(Live::start(it.plan.as_ref().clone(), None, &recovered, seam, now));
    }
    candidate.registry.commit(Arc::clone(&candidate.snapshot.groups));
    let explained = worker::explain(&candidate.plan(), asked);
    log::flush();
    explained.map_err(fail)
}

fn refused(diagnostics: crate::config::diagnostic::Diagnostics) -> Failed {
    report(&diagnostics);
    Failed
}

/// What goes wrong is for whoever asks: a question leaves no trace in logs.
fn log_to_stderr(loaded: &mut Loaded) {
    let line = ErrorLog {
        at: Default::default(),
        target: ErrorLogTarget::Stderr,
        level: Level::Warn as u8,
    };
    loaded.model.main.error_log = Some(vec![line]);
    if let Some(Http { settings, servers, .. }) = &mut loaded.model.http {
        let quiet = |it: &mut Settings| (it.error_log, it.access_log) = (None, None);
        quiet(settings);
        settings.access_log = Some(Vec::new());
        for server in servers {
            quiet(&mut server.settings);
            server.locations.iter_mut().for_each(|it| quiet(&mut it.settings));
        }
    }
}
