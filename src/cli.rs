//! The command line: nginx's letters, and a few commands of our own.

mod explain;
mod rollout;

use crate::app;
use crate::app::{Check, Failed};
use crate::config;
use crate::config::diagnostic::Diagnostics;
use crate::metrics;
use crate::sys::signal::Signal;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A gateway that runs OpenResty's Lua and nginx.conf.
///
/// Without options it serves conf/moongate.conf below the prefix, or a built-in configuration if
/// there is no such file.
#[derive(Debug, Parser)]
#[command(name = "moongate", disable_version_flag = true, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file, from the current directory or the prefix
    /// [default: conf/moongate.conf]
    #[arg(short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// What paths in the configuration are relative to [default: the current directory if it has a
    /// conf/ or there is no /etc/moongate, else /etc/moongate]
    #[arg(short = 'p', value_name = "DIR")]
    prefix: Option<PathBuf>,
    /// The error log until the configuration names one, or "stderr" [default: logs/error.log]
    #[arg(short = 'e', value_name = "FILE")]
    error_log: Option<PathBuf>,
    /// Directives of the main level, read before the configuration file
    #[arg(short = 'g', value_name = "DIRECTIVES")]
    globals: Option<String>,
    /// Test the configuration and exit
    #[arg(short = 't')]
    test: bool,
    /// Test the configuration, print its files and exit
    #[arg(short = 'T')]
    dump: bool,
    /// Say nothing but faults while testing
    #[arg(short = 'q')]
    quiet: bool,
    /// Tell the running Moongate: stop, quit, reopen or reload
    #[arg(short = 's', value_name = "SIGNAL")]
    signal: Option<Signal>,
    /// Show the version and exit
    #[arg(short = 'v')]
    version: bool,
    /// Show the version and what it was built with, and exit
    #[arg(short = 'V')]
    build: bool,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
enum Command {
    /// Print what an nginx.conf means as JSON; what is wrong with it goes to stderr
    Adapt {
        /// The file
        file: PathBuf,
    },
    /// Print the reference of directives as a Markdown table
    Directives,
    /// Print the reference of metrics as a Markdown table
    Metrics,
    /// Tell where a request would go, and why; no upstream is asked
    Explain(explain::Explain),
    /// Show rollouts, and move them
    Rollout(rollout::Rollout),
}

/// Does what the arguments say.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help is no error; there is nowhere to say that a message could not be printed.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed) => ExitCode::FAILURE,
    }
}

fn run(cli: Cli) -> Result<(), Failed> {
    match cli.command {
        Some(Command::Adapt { file }) => return adapt(&file),
        Some(Command::Directives) => {
            print!("{}", config::reference());
            return Ok(());
        }
        Some(Command::Metrics) => {
            print!("{}", metrics::catalog::reference());
            return Ok(());
        }
        Some(Command::Explain(it)) => return explain::run(it),
        Some(Command::Rollout(it)) => return rollout::run(it),
        None => {}
    }
    // As nginx has it, on stderr.
    if cli.build {
        eprintln!("{}", app::identity::build());
        return Ok(());
    }
    if cli.version {
        eprintln!("{}", app::identity::version());
        return Ok(());
    }
    let source = app::source(cli.config, cli.prefix, cli.globals, cli.error_log);
    let source = source.map_err(|failure| {
        eprintln!("moongate: [emerg] {failure}");
        Failed
    })?;
    if let Some(signal) = cli.signal {
        return app::tell(&source, signal);
    }
    if cli.test || cli.dump {
        return app::check(&source, Check { dump: cli.dump, quiet: cli.quiet });
    }
    app::serve(source)
}

fn adapt(file: &Path) -> Result<(), Failed> {
    let say = |diagnostics: &Diagnostics| eprint!("{diagnostics}");
    match config::load(file, Path::new(""), None) {
        Ok(loaded) => {
            say(&loaded.diagnostics);
            println!("{}", config::to_json(&loaded.model));
            Ok(())
        }
        Err(diagnostics) => {
            say(&diagnostics);
            Err(Failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("moongate").chain(line.split_whitespace()))
    }

    #[test]
    fn nginx_s_letters_are_ours() {
        let cli = parse("-p /srv -c a.conf -e stderr -g daemon -tq").unwrap();
        assert_eq!(cli.config.as_deref(), Some(Path::new("a.conf")));
        assert_eq!(cli.prefix.as_deref(), Some(Path::new("/srv")));
        assert_eq!(cli.error_log.as_deref(), Some(Path::new("stderr")));
        assert_eq!(cli.globals.as_deref(), Some("daemon"));
        assert!(cli.test && cli.quiet && !cli.dump && !cli.version && !cli.build);
        assert!(parse("-T").unwrap().dump && parse("-v").unwrap().version);
        assert_eq!(parse("-tc a.conf").unwrap().config.as_deref(), Some(Path::new("a.conf")));
    }

    #[test]
    fn signals_are_words() {
        assert_eq!(parse("-s reload").unwrap().signal, Some(Signal::Reload));
        assert_eq!(parse("-sstop").unwrap().signal, Some(Signal::Stop));
        assert!(parse("-s halt").unwrap_err().to_string().contains("-s halt"));
    }

    #[test]
    fn commands_take_no_letters() {
        let adapt = Command::Adapt { file: "a.conf".into() };
        assert_eq!(parse("adapt a.conf").unwrap().command, Some(adapt));
        assert!(parse("adapt").is_err() && parse("-t adapt a.conf").is_err());
        assert!(parse("--nonsense").is_err() && parse("start").is_err());
    }
}
