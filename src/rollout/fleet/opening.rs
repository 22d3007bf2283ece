//! Journals opened for a configuration that is to take over, while what lives goes on.

use crate::clock;
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::rollout::journal::{self, Identity, Journal, Record, Recovered, identity_of};
use crate::rollout::registry::{Rollouts, Wanted};
use crate::rollout::writer::Writer;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long a journal is waited for that another process holds: one that is about to end.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Journals that a configuration needs opened before it takes over, by rollout. Given up, they
/// leave nothing.
#[derive(Debug, Default)]
pub struct Opened(HashMap<String, Journaled>);

/// A journal that was opened, and what it told.
#[derive(Debug)]
pub(super) struct Journaled {
    pub writer: Writer,
    pub recovered: Recovered,
    /// Its last transitions.
    pub recent: Vec<Record>,
}

impl Opened {
    /// That of the rollout `name`.
    pub(super) fn take(&mut self, name: &str) -> Option<Journaled> {
        self.0.remove(name)
    }
}

/// The journals that are open. A disk may take its time to open others: nobody waits for that who
/// looks at rollouts.
#[derive(Debug)]
pub struct Known(Vec<Open>);

#[derive(Debug)]
struct Open {
    rollout: String,
    path: PathBuf,
    identity: Option<Arc<Mutex<Identity>>>,
}

impl Known {
    /// Those of these rollouts: name, path, writer.
    pub(super) fn of<'a>(
        members: impl Iterator<Item = (&'a str, &'a Path, Option<&'a Writer>)>,
    ) -> Self {
        let open = |(rollout, path, writer): (&str, &Path, Option<&Writer>)| Open {
            rollout: rollout.to_owned(),
            path: path.to_owned(),
            identity: writer.map(Writer::identity),
        };
        Self(members.map(open).collect())
    }

    /// Opens the journals that `rollouts` needs and that are not open: of rollouts that are new,
    /// and of those whose journal moves. It may take its time.
    ///
    /// # Errors
    /// All journals that cannot be opened.
    pub fn open(&self, rollouts: &Rollouts) -> Result<Opened, Diagnostics> {
        let (mut opened, mut faults) = (Opened::default(), Diagnostics::default());
        for wanted in rollouts.iter() {
            match self.open_one(wanted) {
                Ok(None) => {}
                Ok(Some(journal)) => {
                    opened.0.insert(wanted.entry.name().to_owned(), journal);
                }
                Err(why) => {
                    let name = wanted.entry.name();
                    let text = format!("the journal of rollout \"{name}\": {why}");
                    faults.push(Diagnostic::fault(&wanted.at, text));
                }
            }
        }
        if faults.0.is_empty() { Ok(opened) } else { Err(faults) }
    }

    pub(super) fn open_one(&self, wanted: &Wanted) -> Result<Option<Journaled>, String> {
        let (path, entry) = (&wanted.journal, &wanted.entry);
        let known = self.0.iter().find(|it| it.rollout == entry.name());
        if known.is_some_and(|it| it.path == *path || it.is_at(path)) {
            return Ok(None);
        }
        let (mut journal, recovered, secret) =
            open_patiently(wanted).map_err(|it| explained(&it, path))?;
        if known.is_some() && recovered != Recovered::Nothing {
            let path = path.display();
            return Err(format!("\"{path}\" has a history of its own; remove it or write another"));
        }
        if known.is_none() && !entry.has_secret(&secret) {
            return Err(format!("\"{}\" was just made by another process", path.display()));
        }
        let recent = journal.take_recent();
        let writer = Writer::start(journal).map_err(|it| it.to_string())?;
        Ok(Some(Journaled { writer, recovered, recent }))
    }
}

impl Open {
    fn is_at(&self, path: &Path) -> bool {
        let ours = self.identity.as_ref().and_then(|it| *it.lock());
        ours.is_some() && ours == identity_of(path)
    }
}

/// Why a journal is not opened, and where it is a matter of permissions what to do.
fn explained(why: &journal::Error, path: &Path) -> String {
    match why {
        journal::Error::Os(failure) if failure.errno() == Some(libc::EACCES) => {
            let folder = path.parent().unwrap_or(path).display();
            format!(
                "{why}; whom workers run as must be the owner of \"{folder}\", or \"journal PATH\" \
                 must name a folder of theirs"
            )
        }
        _ => why.to_string(),
    }
}

/// Opens a journal, patiently where another process holds it.
fn open_patiently(wanted: &Wanted) -> Result<(Journal, Recovered, String), journal::Error> {
    let (entry, started) = (&wanted.entry, clock::precise());
    loop {
        match Journal::open(&wanted.journal, entry.name(), entry.fresh_secret()) {
            Err(journal::Error::Held(_)) if clock::precise() - started < PATIENCE => {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}
