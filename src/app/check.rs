//! `-t` and `-T`: whether a configuration could serve, said as nginx says it.

use super::defaults::make_log_folder;
use super::{Failed, fail, report};
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::control::{Candidate, Known, Source};
use crate::log;
use crate::log::ErrorLog;
use crate::sys::errno::Failure;
use std::io::{self, Write};

/// How much `-t` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// `-T`: the files themselves, on stdout.
    pub dump: bool,
    /// `-q`: faults only.
    pub quiet: bool,
}

/// Tests the configuration; nothing is served.
///
/// # Errors
/// When it could not serve.
pub fn check(source: &Source, check: Check) -> Result<(), Failed> {
    log::install(ErrorLog::silent());
    let name = source.name();
    match compile(source) {
        Ok(candidate) => {
            let shown = candidate.diagnostics.0.iter().filter(|_| !check.quiet);
            shown.for_each(show);
            if !check.quiet {
                eprintln!("moongate: the configuration file {name} syntax is ok");
                eprintln!("moongate: configuration file {name} test is successful");
            }
            if check.dump { dump(&candidate) } else { Ok(()) }
        }
        Err(diagnostics) => {
            report(&diagnostics);
            eprintln!("moongate: configuration file {name} test failed");
            Err(Failed)
        }
    }
}

/// Does everything that a start does short of listening.
fn compile(source: &Source) -> Result<Candidate, Diagnostics> {
    let loaded = source.load()?;
    let refused = |failure: Failure| {
        Diagnostics(vec![Diagnostic::fault(&Default::default(), failure.to_string())])
    };
    make_log_folder(&loaded.model, &source.prefix).map_err(refused)?;
    let runtime = super::server::runtime().map_err(refused)?;
    let known = Known::nothing();
    runtime.block_on(Candidate::compile(loaded, source.prefix.clone(), known))
}

/// On stderr alone: a test leaves no trace in logs.
fn show(diagnostic: &Diagnostic) {
    let level = match diagnostic.severity {
        Severity::Fault => "emerg",
        Severity::Alert => "alert",
        Severity::Warning => "warn",
        Severity::Notice => "notice",
    };
    eprintln!("moongate: [{level}] {diagnostic}");
}

fn dump(candidate: &Candidate) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    let written = candidate.files.iter().try_for_each(|(path, text)| {
        writeln!(out, "# configuration file {}:\n{text}", path.display())
    });
    written.map_err(|error| fail(Failure::new("write() to stdout", error)))
}
