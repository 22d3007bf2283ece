//! `moongate rollout …`: words for operators, and what they are shown.

mod show;

use crate::app;
use crate::app::Failed;
use crate::app::rollouts::{Gateway, who};
use crate::config::units;
use clap::{Args, Subcommand};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What all of them take.
#[derive(Debug, PartialEq, Eq, Args)]
pub(super) struct Rollout {
    /// The configuration of the gateway, which names its admin listener
    #[arg(short = 'c', value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// What paths in the configuration are relative to
    #[arg(short = 'p', value_name = "DIR", global = true)]
    prefix: Option<PathBuf>,
    /// The admin listener's address, instead of the configuration's
    #[arg(long, value_name = "ADDRESS:PORT", global = true)]
    admin: Option<SocketAddr>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
enum Word {
    /// Show all rollouts, a line each
    List,
    /// Show where a rollout stands, with the numbers that it rests on
    Status {
        /// The rollout; without it all of them
        name: Option<String>,
    },
    /// Enter the next step now; behind the last one, all traffic
    Promote {
        /// The rollout
        name: String,
    },
    /// Stay at this weight until "resume"; the canary is still judged
    Pause {
        /// The rollout
        name: String,
    },
    /// Go on; after a rollback or an abort, begin anew
    Resume {
        /// The rollout
        name: String,
    },
    /// Give all traffic back to stable, until "resume"
    Abort {
        /// The rollout
        name: String,
    },
    /// Give a canary this weight, and stay there
    SetWeight {
        /// The rollout
        name: String,
        /// 0% to 100%, or basis points as 25bp
        #[arg(value_parser = weight)]
        weight: u16,
        /// The version of a canary that is not the first
        #[arg(long, value_name = "VERSION")]
        canary: Option<String>,
    },
    /// Show which variant a user gets, now and at each step; the configuration is read, and the
    /// journal
    Who {
        /// The rollout
        name: String,
        /// The value of its `sticky` key, or of its cookie
        #[arg(long)]
        key: String,
    },
}

fn weight(text: &str) -> Result<u16, String> {
    units::share(text).ok_or_else(|| "write 0% to 100%, or 25bp".to_owned())
}

/// Does what was said.
pub(super) fn run(rollout: Rollout) -> Result<(), Failed> {
    let Rollout { config, prefix, admin, json, word } = rollout;
    let source = app::source(config, prefix, None, None).map_err(|failure| {
        eprintln!("moongate: {failure}");
        Failed
    })?;
    let gateway = || Gateway::find(&source, admin);
    let command = |name: &str, verb: &str, weight| {
        let status = gateway()?.command(name, verb, weight)?;
        print(json, &status, show::changed(&status))
    };
    match word {
        Word::List => {
            let rollouts = gateway()?.rollouts(None)?;
            print(json, &rollouts, show::table(&rollouts))
        }
        Word::Status { name } => {
            let rollouts = gateway()?.rollouts(name.as_deref())?;
            let text: Vec<String> = rollouts.iter().map(show::status).collect();
            match (name, &rollouts[..]) {
                (Some(_), [one]) => print(json, one, text.concat()),
                _ if rollouts.is_empty() => print(json, &rollouts, show::table(&rollouts)),
                _ => print(json, &rollouts, text.join("\n")),
            }
        }
        Word::Promote { name } => command(&name, "promote", None),
        Word::Pause { name } => command(&name, "pause", None),
        Word::Resume { name } => command(&name, "resume", None),
        Word::Abort { name } => command(&name, "abort", None),
        Word::SetWeight { name, weight, canary } => {
            command(&name, "set-weight", Some((weight, canary.as_deref())))
        }
        Word::Who { name, key } => {
            let way = who(&source, &name, &key)?;
            let said = serde_json::json!({
                "rollout": name, "key": key, "bucket": way.bucket, "now": way.now,
                "steps": way.steps.iter().map(|(weight, variant)| {
                    serde_json::json!({ "weight": weight, "variant": variant })
                }).collect::<Vec<_>>(),
            });
            print(json, &said, show::way(&name, &key, &way))
        }
    }
}

/// Prints `content` as JSON, or `text`. Whoever closed our output has read enough.
fn print<T: serde::Serialize>(json: bool, content: &T, text: String) -> Result<(), Failed> {
    let text = match json {
        true => serde_json::to_string_pretty(content).map_err(|_| Failed)? + "\n",
        false => text,
    };
    let _ = io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
