//! `moongate explain`: where a request would go, and why.

use crate::app;
use crate::app::Failed;
use crate::proxy::explain::Asked;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// A request, in curl's letters.
#[derive(Debug, PartialEq, Eq, Args)]
pub(super) struct Explain {
    /// The configuration file
    #[arg(short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// What paths in the configuration are relative to
    #[arg(short = 'p', value_name = "DIR")]
    prefix: Option<PathBuf>,
    /// The method [default: GET, with a body POST]
    #[arg(short = 'X', value_name = "METHOD")]
    method: Option<String>,
    /// A header field
    #[arg(short = 'H', value_name = "NAME: VALUE")]
    fields: Vec<String>,
    /// The body
    #[arg(short = 'd', value_name = "BODY")]
    body: Option<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The request's target
    uri: String,
}

/// Explains; nothing is served, and no upstream is asked.
pub(super) fn run(it: Explain) -> Result<(), Failed> {
    let source = app::source(it.config, it.prefix, None, None);
    let source = source.map_err(|failure| {
        eprintln!("moongate: [emerg] {failure}");
        Failed
    })?;
    let default = if it.body.is_some() { "POST" } else { "GET" };
    let asked = Asked {
        method: it.method.unwrap_or_else(|| default.to_owned()),
        uri: it.uri,
        fields: it.fields,
        body: it.body.unwrap_or_default().into_bytes(),
        from: it.from,
    };
    let explanation = app::explain(&source, &asked)?;
    if it.json {
        println!("{}", serde_json::to_string_pretty(&explanation).unwrap_or_default());
    } else {
        print!("{explanation}");
    }
    Ok(())
}
