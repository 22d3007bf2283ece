//! `memc_pass` and `memcached_pass`: a request becomes a command of memcached, the reply a
//! response.
//!
//! What is asked is in variables, as in ngx_memc: `$memc_cmd` (or what the method stands for),
//! `$memc_key`, `$memc_value` (or the body), `$memc_flags`, `$memc_exptime`; in nginx's own module
//! `$memcached_key` alone. Peers, retries and connections are those of `proxy_pass`.

use super::body::Read;
use super::error::Result;
use super::exchange::{Asked, Line, Rest, Sending};
use super::files;
use super::phases::{Flow, Serving};
use super::retry::{self, Round, end_attempt};
use super::talk::{NotBegun, Talk};
use super::upstream_request::Written;
use super::worker::WorkerState;
use crate::http::escape;
use crate::http::memcached::Command;
use crate::http::number;
use crate::log::Level;
use crate::request::Request;
use crate::snapshot::conf::MemcachedConf;
use crate::snapshot::proxy_target::ProxyTarget;
use crate::vars::Var;
use bytes::Bytes;

/// Digits of the largest numbers of 32 and of 64 bits, with a sign.
const DIGITS_32: usize = 11;
const DIGITS_64: usize = 20;

/// Serves a request by a memcached.
///
/// # Errors
/// The client's connection is gone.
pub(super) async fn serve(serving: &mut Serving<'_>, target: &ProxyTarget) -> Result<Flow> {
    let request = serving.request.clone();
    let conf = request.conf();
    let Some(conf) = &conf.proxy.memcached else { return Ok(Flow::Status(500)) };
    let question = match Question::of(&request, conf) {
        Ok(question) => question,
        Err(status) => return Ok(Flow::Status(status)),
    };
    if let Read::Refused(status) = serving.client.read_body(&request).await? {
        return Ok(Flow::Status(status));
    }
    if let Err(fault) = question.check_contents(&request) {
        request.log(Level::Error, format_args!("{fault}"));
        return Ok(Flow::Status(500));
    }
    retry::proxy(serving, target).await
}

/// What is asked.
struct Question {
    command: Command,
    /// As it is sent; empty where there is none.
    key: Bytes,
    /// `None` is the body.
    value: Option<Bytes>,
    flags: Option<Bytes>,
    exptime: Option<Bytes>,
    name_of_key: &'static str,
}

/// What a variable says; an empty one says something.
fn said(request: &Request, var: &Option<Var>) -> Option<Bytes> {
    request.value(var.as_ref()?)
}

/// What a variable says that says something.
fn said_more(request: &Request, var: &Option<Var>) -> Option<Bytes> {
    said(request, var).filter(|it| !it.is_empty())
}

/// What was taken for granted, or came, can be read where it can be set.
fn set(request: &Request, var: &Var, value: Bytes) {
    let _ = request.assign(var, Some(value));
}

fn is_number(value: &[u8], most_digits: usize) -> bool {
    value.len() <= most_digits && value.iter().all(u8::is_ascii_digit)
}

impl Question {
    /// What `request` asks.
    ///
    /// # Errors
    /// The status for the client; why was logged.
    fn of(request: &Request, conf: &MemcachedConf) -> std::result::Result<Self, u16> {
        let command = command(request, conf)?;
        let key = request.value(&conf.key).unwrap_or_default();
        let mut question = Self {
            command,
            key: escape::escape(&key, &escape::MEMCACHED).into_owned().into(),
            value: None,
            flags: None,
            exptime: None,
            name_of_key: if conf.command.is_some() { "memc_key" } else { "memcached_key" },
        };
        let counts = matches!(command, Command::Incr | Command::Decr);
        let expires = command.stores() || matches!(command, Command::FlushAll | Command::Delete);
        let refuse = |name: &str, value: &Bytes| {
            let value = String::from_utf8_lossy(value);
            request.log(
                Level::Error,
                format_args!("variable \"${name}\" takes invalid value: {value}"),
            );
            400u16
        };
        if expires {
            question.exptime = said_more(request, &conf.exptime);
        }
        if let Some(it) = question.exptime.as_ref().filter(|it| !is_number(it, DIGITS_32)) {
            return Err(refuse("memc_exptime", it));
        }
        if command.stores() {
            question.flags = said_more(request, &conf.flags);
        }
        if let Some(it) = question.flags.as_ref().filter(|it| !is_number(it, DIGITS_32)) {
            return Err(refuse("memc_flags", it));
        }
        if counts || command.stores() {
            question.value = said(request, &conf.value);
        }
        if counts {
            check_count(request, command, question.value.as_deref().unwrap_or_default())?;
        }
        Ok(question)
    }

    /// Whether there is a key, and a value where the command needs one.
    fn check_contents(&self, request: &Request) -> std::result::Result<(), String> {
        if self.command.has_key() && self.key.is_empty() {
            return Err(format!("the \"${}\" variable is not set", self.name_of_key));
        }
        if self.sends_body() && request.body.borrow().length().is_none_or(|it| it == 0) {
            let fault = "neither the \"$memc_value\" variable nor the request body is available";
            return Err(fault.to_owned());
        }
        Ok(())
    }

    fn sends_body(&self) -> bool {
        self.command.stores() && self.value.is_none()
    }

    /// Appends the command, and the value unless it is the request's body.
    fn write(&self, request: &Request, out: &mut Vec<u8>) {
        let mut word = |word: &[u8]| {
            if !out.is_empty() {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        };
        word(self.command.name().as_bytes());
        if self.command.has_key() {
            word(&self.key);
        }
        if self.command.stores() {
            word(self.flags.as_deref().unwrap_or(b"0"));
            word(self.exptime.as_deref().unwrap_or(b"0"));
            let length = match &self.value {
                Some(value) => value.len() as u64,
                None => request.body.borrow().length().unwrap_or(0),
            };
            word(b"");
            number::decimal_into(out, length);
        } else if let Some(exptime) = &self.exptime {
            word(exptime);
        } else if let Some(value) = &self.value {
            word(value);
        }
        out.extend_from_slice(b"\r\n");
        if let (true, Some(value)) = (self.command.stores(), &self.value) {
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The command that is asked for, if it may be.
fn command(request: &Request, conf: &MemcachedConf) -> std::result::Result<Command, u16> {
    let Some(var) = &conf.command else {
        let gets = matches!(&**request.method.borrow(), b"GET" | b"HEAD");
        return if gets { Ok(Command::Get) } else { Err(405) };
    };
    let command = match request.value(var).filter(|it| !it.is_empty()) {
        Some(name) => Command::from_name(&name).ok_or_else(|| {
            let name = String::from_utf8_lossy(&name).into_owned();
            format!("ngx_memc: unknown $memc_cmd \"{name}\"")
        }),
        None => {
            let method = request.method.borrow();
            Command::of_method(&method).ok_or_else(|| {
                let method = String::from_utf8_lossy(&method).into_owned();
                format!("ngx_memc: $memc_cmd variable not found for HTTP {method} requests")
            })
        }
    };
    let command = command.map_err(|fault| {
        request.log(Level::Error, format_args!("{fault}"));
        400u16
    })?;
    set(request, var, Bytes::from_static(command.name().as_bytes()));
    if conf.allowed.as_ref().is_some_and(|it| !it.contains(&command)) {
        let name = command.name();
        let fault = format!("ngx_memc: memcached command \"{name}\" not allowed");
        request.log(Level::Error, format_args!("{fault}"));
        return Err(403);
    }
    Ok(command)
}

/// Whether `value` is one to count by.
fn check_count(request: &Request, command: Command, value: &[u8]) -> std::result::Result<(), u16> {
    let fault = match value {
        b"" => {
            format!("the \"$memc_value\" variable is required for command \"{}\"", command.name())
        }
        _ if is_number(value, DIGITS_64) => return Ok(()),
        _ => format!(
            "variable \"$memc_value\" is invalid for incr/decr: {}",
            String::from_utf8_lossy(value)
        ),
    };
    request.log(Level::Error, format_args!("{fault}"));
    Err(400)
}

/// Begins to send the command by `line`; `rest` is the request's body.
pub(super) fn begin(
    worker: &WorkerState,
    request: &Request,
    round: &Round,
    line: Line,
    rest: Rest,
) -> std::result::Result<(Talk, Written), NotBegun> {
    let conf = request.conf();
    let conf = conf.proxy.memcached.as_ref().ok_or(NotBegun::Method)?;
    let question = Question::of(request, conf).map_err(|_| NotBegun::Method)?;
    let mut head = worker.pool.buffer();
    question.write(request, &mut head);
    let sending = match question.sends_body() {
        true => Sending::with_end(head, rest, b"\r\n"),
        false => Sending::new(head, Rest::Nothing),
    };
    let mut exchange = line.send(&round.destination.group, sending, round.timeouts);
    let key = question.key.as_ref().into();
    exchange.ask_memcached(Asked { command: question.command, key, flags: None });
    Ok((Talk::H1(exchange), Written { headless: false, upgrades: false }))
}

/// The response's head by the reply.
pub(super) fn complete_head(request: &Request, conf: &MemcachedConf, asked: &Asked) {
    let flags = asked.flags.as_deref().unwrap_or_default();
    let number: Option<u64> = std::str::from_utf8(flags).ok().and_then(|it| it.parse().ok());
    if let (Some(var), Some(flags)) = (&conf.flags, &asked.flags) {
        set(request, var, Bytes::copy_from_slice(flags));
    }
    let kind = files::content_type(request);
    let mut response = request.response.borrow_mut();
    response.content_type = Some(kind);
    response.last_modified = number.filter(|_| conf.flags_to_last_modified);
    if number.is_some_and(|it| it & u64::from(conf.gzip_flag) != 0) {
        response
            .headers
            .append(Bytes::from_static(b"Content-Encoding"), Bytes::from_static(b"gzip"));
    }
}

/// A key that memcached does not know: a page for 404, and a connection that serves on.
pub(super) fn not_found(serving: &Serving<'_>, talk: Talk) -> Result<Flow> {
    let request = &serving.request;
    if let Some(asked) = talk.asked() {
        let key = String::from_utf8_lossy(&asked.key);
        let fault = format!("key: \"{key}\" was not found by memcached");
        request.log(Level::Info, format_args!("{fault}"));
    }
    end_attempt(request, None);
    talk.finish(&serving.worker.pool);
    Ok(Flow::Status(404))
}
