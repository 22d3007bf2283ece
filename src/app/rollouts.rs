//! `moongate rollout …`: asks the process that runs, at its admin listener.

use super::{Failed, report};
use crate::config::model::Model;
use crate::control::Source;
use crate::log;
use crate::log::ErrorLog;
use crate::rollout::Recovered;
use crate::rollout::hash::{bucket, hash};
use crate::rollout::journal::Journal;
use crate::rollout::layout::Layout;
use crate::rollout::plan::Plan;
use crate::rollout::registry::journal_of;
use crate::rollout::signature;
use crate::rollout::status::Status;
use std::fmt::Display;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Where the admin listener is unless the configuration says so.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take: a decision is on the disk before it is given.
const ANSWER: Duration = Duration::from_secs(12);
/// The longest answer.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// The process that is asked.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    /// The configuration that names the address.
    configuration: String,
}

/// Where a user's key leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Way {
    /// The key's bucket: 0 to 9999.
    pub bucket: u16,
    /// The variant now, by the journal; none where there is no journal yet.
    pub now: Option<String>,
    /// The first canary's weight at each step, basis points, and the variant there.
    pub steps: Vec<(u16, String)>,
}

impl Gateway {
    /// The process at `address`, else the one that `source` configures.
    ///
    /// # Errors
    /// When the configuration cannot be read, or wants no admin listener.
    pub fn find(source: &Source, address: Option<SocketAddr>) -> Result<Self, Failed> {
        let configuration = source.name();
        if let Some(address) = address {
            return Ok(Self { address, configuration });
        }
        let model = load(source)?;
        let address = match model.main.admin_listen.as_deref() {
            None => DEFAULT,
            Some("off") => {
                let advice = "take the line out, or name an address";
                return Err(fail(format_args!(
                    "{configuration} has \"admin_listen off\": {advice}"
                )));
            }
            Some(text) => text.parse().map_err(|_| {
                fail(format_args!("invalid address \"admin_listen {text}\" in {configuration}"))
            })?,
        };
        Ok(Self { address: reachable(address), configuration })
    }

    /// All rollouts, or the one called `name`.
    ///
    /// # Errors
    /// When nobody answers, or there is none of this name.
    pub fn rollouts(&self, name: Option<&str>) -> Result<Vec<Status>, Failed> {
        match name {
            None => self.ask("GET", "/rollouts"),
            Some(name) => {
                let status: Status = self.ask("GET", &format!("/rollouts/{}", escaped(name)))?;
                Ok(vec![status])
            }
        }
    }

    /// Says `verb` to the rollout `name`; `set-weight` has a weight in basis points, and the label
    /// of a canary that is not the first. Gives the status behind it.
    ///
    /// # Errors
    /// When nobody answers, or the command is refused.
    pub fn command(
        &self,
        name: &str,
        verb: &str,
        weight: Option<(u16, Option<&str>)>,
    ) -> Result<Status, Failed> {
        let mut path = format!("/rollouts/{}/{verb}", escaped(name));
        if let Some((weight, canary)) = weight {
            path.push_str(&format!("?weight={weight}bp"));
            if let Some(canary) = canary {
                path.push_str(&format!("&canary={}", escaped(canary)));
            }
        }
        self.ask("POST", &path)
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, method: &str, path: &str) -> Result<T, Failed> {
        let address = self.address;
        let (status, body) = exchange(address, method, path).map_err(|error| {
            fail(format_args!(
                "no Moongate answers at {address} ({error}): is it running? The address is \
                 \"admin_listen\" of {}; --admin ADDRESS:PORT names another",
                self.configuration
            ))
        })?;
        let odd = || fail(format_args!("what answers at {address} is no Moongate of this version"));
        if status == 200 {
            return serde_json::from_slice(&body).map_err(|_| odd());
        }
        let said = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let why = said.as_ref().and_then(|it| it.get("error")?.as_str());
        Err(why.map_or_else(odd, fail))
    }
}

/// Where `key` leads in the rollout `name` of the configuration, from the layout that its journal
/// keeps. A cookie's value is a key, too, where the rollout has a cookie.
///
/// # Errors
/// When the configuration cannot be read or has no such rollout, or the journal cannot be read.
pub fn who(source: &Source, name: &str, key: &str) -> Result<Way, Failed> {
    let model = load(source)?;
    let rollouts = model.http.as_ref().map(|it| it.rollouts.as_slice()).unwrap_or_default();
    let Some(rollout) = rollouts.iter().find(|it| it.name == name) else {
        let names: Vec<_> = rollouts.iter().map(|it| it.name.as_str()).collect();
        let conf = source.name();
        let there = if names.is_empty() { "none" } else { &names.join(", ") };
        return Err(fail(format_args!("no rollout \"{name}\" in {conf}; there is {there}")));
    };
    let plan = Plan::new(rollout);
    let path = journal_of(rollout, &source.prefix);
    let recovered = match Journal::look(&path, name) {
        Ok(recovered) => recovered,
        Err(failure) if failure.errno() == Some(libc::ENOENT) => Recovered::Nothing,
        Err(failure) => return Err(fail(failure)),
    };
    let layout = Layout::default();
    if let Recovered::Record(record) | Recovered::TornRollback(Some(record)) = &recovered {
        layout.restore(&record.layout);
    }
    layout.set(&recovered.state(&plan).weights());
    let id = rollout.cookie.as_ref().and_then(|_| signature::id_of(key));
    let salt = hash(0, name.as_bytes());
    let bucket = bucket(id.map_or_else(|| hash(salt, key.as_bytes()), |it| hash(salt, &it)));
    let labels: Vec<&str> = rollout.labels().collect();
    let label = |variant: u8| labels.get(usize::from(variant)).copied().unwrap_or("?").to_owned();
    let journey = plan.journey(&layout, bucket).into_iter();
    let is_known = recovered != Recovered::Nothing;
    Ok(Way {
        bucket,
        now: is_known.then(|| label(layout.owner(bucket))),
        steps: journey.map(|(weight, variant)| (weight, label(variant))).collect(),
    })
}

fn load(source: &Source) -> Result<Model, Failed> {
    log::install(ErrorLog::silent());
    let loaded = source.load().map_err(|diagnostics| {
        report(&diagnostics);
        Failed
    })?;
    Ok(loaded.model)
}

/// A listener on all addresses is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(it) if it.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(it) if it.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// One request and its answer: status and body.
fn exchange(address: SocketAddr, method: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    match response.parse(&bytes) {
        Ok(httparse::Status::Complete(length)) => {
            let status = response.code.unwrap_or(0);
            Ok((status, bytes[length..].to_vec()))
        }
        _ => Err(invalid("the answer is no HTTP")),
    }
}

/// What is no letter, digit, `_`, `-` or `.` as `%XX`.
fn escaped(text: &str) -> String {
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"_-.".contains(&it);
    text.bytes().fold(String::new(), |mut text, byte| {
        match is_plain(byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

/// Says why on stderr: this is no server, and has no log.
fn fail(reason: impl Display) -> Failed {
    eprintln!("moongate: {reason}");
    Failed
}
