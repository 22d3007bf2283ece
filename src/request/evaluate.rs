//! Values of variables for one request; nothing is computed before it is asked for.

use super::attempt::seconds;
use super::connection::Address;
use super::limits::Limited;
use super::{Body, Request, Version};
use crate::clock;
use crate::http::basic;
use crate::http::number::{decimal_into, seconds_into, three_digits_into};
use crate::log::Level;
use crate::metrics::Connections;
use crate::snapshot::program::{Assign, CapturingRegex};
use crate::vars::Builtin;
use crate::vars::Source;
use crate::vars::Var;
use bytes::Bytes;
use rand::RngCore;
use std::cell::Cell;
use std::io::Write;
use std::net::IpAddr;

/// How deep variables may be computed from one another; nginx's `ngx_http_variable_depth`.
pub(super) const MOST_DEPTH: u8 = 100;

impl Source for Request {
    fn append(&self, var: &Var, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let is_set = self.append_any(var, out);
        if self.is_traced.get() {
            self.note_read(var, is_set.then(|| &out[start..]));
        }
        is_set
    }

    fn value_of(&self, var: &Var) -> Option<Bytes> {
        self.value(var)
    }

    fn warn_unset(&self, name: &str) {
        if self.conf().uninitialized_variable_warn && self.snapshot.names.is_slot(name.as_bytes()) {
            self.log(Level::Warn, format_args!("using uninitialized \"{name}\" variable"));
        }
    }
}

fn number(value: u64, out: &mut Vec<u8>) -> bool {
    decimal_into(out, value);
    true
}

fn time(ms: u64, out: &mut Vec<u8>) -> bool {
    seconds_into(out, ms);
    true
}

fn host(address: &Address, out: &mut Vec<u8>) -> bool {
    address.host_into(out);
    true
}

/// A unix socket has none: its port is empty.
fn port(address: &Address, out: &mut Vec<u8>) -> bool {
    if let Some(port) = address.port() {
        decimal_into(out, u64::from(port));
    }
    true
}

/// Appends a value that may be missing.
pub(super) fn put(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    value.is_some_and(|it| {
        out.extend_from_slice(it);
        true
    })
}

impl Request {
    fn append_any(&self, var: &Var, out: &mut Vec<u8>) -> bool {
        match var {
            Var::Builtin(builtin) => self.append_builtin(*builtin, out),
            Var::Slot(slot) => put(self.slot(*slot).as_deref(), out),
            Var::Map(number, slot) => put(self.mapped(usize::from(*number), *slot).as_deref(), out),
            Var::Geo(number, slot) => put(self.geo(*number, *slot).as_deref(), out),
            Var::Split(number, slot) => {
                put(self.split(usize::from(*number), *slot).as_deref(), out)
            }
            Var::Rollout(number) => put(self.variant_upstream(*number).as_deref(), out),
            Var::Capture(number) => {
                put(self.captures.borrow().group(usize::from(*number)).as_deref(), out)
            }
            _ => self.append_parametric(var, out),
        }
    }

    /// The value of `var`, `None` where it is not set.
    pub fn value(&self, var: &Var) -> Option<Bytes> {
        // What is traced takes the one way on which it is noted.
        match var {
            _ if self.is_traced.get() => {}
            Var::Slot(slot) => return self.slot(*slot),
            Var::Rollout(number) => return self.variant_upstream(*number),
            Var::Builtin(Builtin::Uri | Builtin::DocumentUri) => {
                return Some(self.uri.borrow().clone()).filter(|it| !it.is_empty());
            }
            Var::Builtin(Builtin::Host) => return Some(self.host_or_name()),
            Var::Builtin(Builtin::RequestUri) => return Some(self.target.clone()),
            _ => {}
        }
        let mut out = Vec::new();
        self.append(var, &mut out).then(|| out.into())
    }

    /// Assigns a variable as `set` and `ngx.var` do; `None` unsets it.
    ///
    /// # Errors
    /// `variable "x" not changeable` for one that may not be assigned.
    pub fn assign(&self, target: &Assign, value: Option<Bytes>) -> Result<(), &'static str> {
        match target {
            Var::Slot(slot) | Var::Map(_, slot) | Var::Geo(_, slot) | Var::Split(_, slot) => {
                self.set_slot(*slot, value);
            }
            Var::Builtin(Builtin::Args) => {
                *self.args.borrow_mut() = value;
                self.uri_unchanged.set(false);
            }
            Var::Builtin(Builtin::CanaryVersion) => {
                let mut decision = self.decision.borrow_mut();
                decision.version = value.unwrap_or_default();
                decision.by_script = true;
            }
            Var::Builtin(Builtin::CanaryReason) => {
                self.decision.borrow_mut().reason = value.unwrap_or_default();
            }
            Var::Builtin(Builtin::LimitRate) => {
                self.assign_limit_rate(&value.unwrap_or_default());
            }
            _ => return Err("variable not changeable"),
        }
        Ok(())
    }

    /// Matches `subject`, and on success remembers the captures and sets the named groups.
    pub fn match_regex(&self, regex: &CapturingRegex, subject: Bytes) -> bool {
        let Some(groups) = regex.regex.captures(&subject) else { return false };
        for (number, target) in &regex.named {
            let value = groups
                .get(*number as usize)
                .copied()
                .flatten()
                .map(|(start, end)| subject.slice(start..end));
            // Declared when the configuration was compiled, thus assignable.
            let _ = self.assign(target, Some(value.unwrap_or_default()));
        }
        let mut captures = self.captures.borrow_mut();
        captures.subject = subject;
        captures.groups = groups;
        true
    }

    fn mapped(&self, number: usize, slot: u16) -> Option<Bytes> {
        let map = self.snapshot.maps.get(number)?;
        if let Some(value) = self.slot(slot) {
            return Some(value);
        }
        let _level = self.deeper(map.source.text())?;
        let key = map.source.value(self);
        let value = map.pick(&key, |regex| self.match_regex(regex, key.clone())).value(self);
        if !map.volatile {
            self.set_slot(slot, Some(value.clone()));
        }
        Some(value)
    }

    fn split(&self, number: usize, slot: u16) -> Option<Bytes> {
        let split = self.snapshot.splits.get(number)?;
        if let Some(value) = self.slot(slot) {
            return Some(value);
        }
        let _level = self.deeper(split.source.text())?;
        let key = split.source.value(self);
        let value = split.pick(&key)?.value(self);
        self.set_slot(slot, Some(value.clone()));
        Some(value)
    }

    /// One level of computed variables more, until the value is dropped; `None` in a cycle, which
    /// is logged.
    pub(super) fn deeper(&self, text: &str) -> Option<Deeper<'_>> {
        let left = self.depth_left.get();
        if left == 0 {
            self.log(Level::Error, format_args!("cycle while evaluating variable \"{text}\""));
            return None;
        }
        self.depth_left.set(left - 1);
        Some(Deeper(&self.depth_left))
    }

    fn append_builtin(&self, builtin: Builtin, out: &mut Vec<u8>) -> bool {
        use Builtin as B;
        match builtin {
            // That of a request line that was refused is not known.
            B::Uri | B::DocumentUri => some(&self.uri.borrow(), out),
            B::Args | B::QueryString => put(self.args.borrow().as_deref(), out),
            B::IsArgs => {
                let some = self.args.borrow().as_ref().is_some_and(|it| !it.is_empty());
                put(Some(if some { b"?" } else { b"" }), out)
            }
            B::RequestUri => put(Some(&self.target), out),
            B::RequestMethod => put(Some(&self.main().method.borrow()), out),
            B::Request => put(Some(&self.line), out),
            B::ServerProtocol if self.version == Version::Http09 && !self.is_fake => false,
            B::ServerProtocol => put(Some(self.version.as_str().as_bytes()), out),
            B::Host => put(Some(&self.host_or_name()), out),
            B::ServerName => {
                let server = self.snapshot.server(self.server.get());
                put(Some(server.name.as_bytes()), out)
            }
            B::ConnectionsActive => number(Connections::now().active, out),
            B::ConnectionsReading => number(0, out),
            B::ConnectionsWriting => number(Connections::now().writing, out),
            B::ConnectionsWaiting => number(Connections::now().waiting(), out),
            B::ContentLength => self.append_content_length(out),
            B::ContentType => put(self.headers.borrow().get(b"content-type").map(|it| &**it), out),
            B::RequestId => put(Some(&self.request_id()), out),
            B::RequestBody => match &*self.body.borrow() {
                Body::Memory(bytes) if !bytes.is_empty() => put(Some(bytes), out),
                _ => false,
            },
            B::RequestBodyFile => match &*self.body.borrow() {
                Body::File(file) => put(Some(file.path.as_os_str().as_encoded_bytes()), out),
                _ => false,
            },
            B::DocumentRoot => put(Some(self.root_path().as_os_str().as_encoded_bytes()), out),
            B::RealpathRoot => put(self.real_root().as_deref(), out),
            B::RequestFilename => put(self.place().map(|it| it.path).as_deref(), out),
            B::LimitRate => number(self.limits.rate.get().unwrap_or(0), out),
            B::LimitReqStatus => limited(self.main().limits.requests.get(), out),
            B::LimitConnStatus => limited(self.main().limits.connections.get(), out),
            B::CanaryVersion => put(Some(&self.decision.borrow().version), out),
            B::CanaryReason => put(Some(self.decision.borrow().why()), out),
            B::RolloutReason | B::RolloutWeight => self.append_rollout(builtin, out),
            B::UpstreamName => {
                let decision = self.decision.borrow();
                put(decision.upstream.as_ref().map(|it| it.as_bytes()), out)
            }
            B::ProxyHost => some(&self.proxy_host.borrow().0, out),
            B::ProxyPort => some(&self.proxy_host.borrow().1, out),
            B::ProxyAddXForwardedFor => self.append_forwarded_for(out),
            B::RemoteUser => self.append_remote_user(out),
            B::Status => {
                let status = match (self.error_status.get(), self.response.borrow().status) {
                    (0, status) => status,
                    (error, _) => error,
                };
                three_digits_into(out, status);
                true
            }
            _ => {
                match self.append_security(builtin, out).or_else(|| self.append_echo(builtin, out))
                {
                    Some(is_set) => is_set,
                    None => {
                        self.append_connection(builtin, out) || self.append_measure(builtin, out)
                    }
                }
            }
        }
    }

    fn append_forwarded_for(&self, out: &mut Vec<u8>) -> bool {
        if let Some(before) = self.headers.borrow().request_variable(b"x_forwarded_for") {
            out.extend_from_slice(&before);
            out.extend_from_slice(b", ");
        }
        host(&self.connection.client, out)
    }

    fn append_connection(&self, builtin: Builtin, out: &mut Vec<u8>) -> bool {
        use Builtin as B;
        let connection = &*self.connection;
        match builtin {
            B::RemoteAddr => host(&connection.client, out),
            B::BinaryRemoteAddr => put(Some(&connection.client.octets()), out),
            B::RemotePort => port(&connection.client, out),
            B::ServerAddr => host(&connection.server, out),
            B::ServerPort => port(&connection.server, out),
            B::Connection => number(connection.serial, out),
            B::ConnectionRequests => number(connection.requests.get(), out),
            B::ConnectionTime => time(clock::monotonic().ms_since(connection.accepted), out),
            B::Scheme => put(Some(if connection.is_tls() { b"https" } else { b"http" }), out),
            B::Https => put(Some(if connection.is_tls() { b"on" } else { b"" }), out),
            B::Pipe => put(Some(b"."), out),
            B::ProxyProtocolAddr | B::TcpinfoRtt => false,
            _ => false,
        }
    }

    fn append_measure(&self, builtin: Builtin, out: &mut Vec<u8>) -> bool {
        use Builtin as B;
        match builtin {
            B::RequestTime => time(clock::monotonic().ms_since(self.started), out),
            B::RequestLength => number(self.head_length.get() + self.body_bytes_read.get(), out),
            B::BodyBytesSent => number(self.body_bytes_sent.get(), out),
            B::BytesSent => number(self.bytes_sent.get(), out),
            B::RequestCompletion => put(Some(if self.finished.get() { b"OK" } else { b"" }), out),
            B::Msec => time(clock::cached_ms(), out),
            B::TimeLocal => put(Some(&clock::time_local()), out),
            B::TimeIso8601 => put(Some(&clock::time_iso8601()), out),
            B::NginxVersion => put(Some(crate::snapshot::NGINX_VERSION.as_bytes()), out),
            B::Pid => number(u64::from(std::process::id()), out),
            B::Hostname => put(Some(self.snapshot.hostname.as_bytes()), out),
            _ => self.append_attempts(builtin, out),
        }
    }

    fn append_attempts(&self, builtin: Builtin, out: &mut Vec<u8>) -> bool {
        use Builtin as B;
        let attempts = self.attempts.borrow();
        attempts.join(out, |attempt, out| match builtin {
            B::UpstreamAddr => out.extend_from_slice(attempt.peer.as_bytes()),
            B::UpstreamStatus if attempt.status == 0 => out.push(b'-'),
            B::UpstreamStatus => decimal_into(out, u64::from(attempt.status)),
            B::UpstreamResponseLength => decimal_into(out, attempt.response_length),
            B::UpstreamBytesReceived => decimal_into(out, attempt.bytes_received),
            B::UpstreamBytesSent => decimal_into(out, attempt.bytes_sent),
            B::UpstreamConnectTime => seconds(attempt.connect_ms, out),
            B::UpstreamHeaderTime => seconds(attempt.header_ms, out),
            _ => seconds(attempt.response_ms, out),
        })
    }

    fn append_content_length(&self, out: &mut Vec<u8>) -> bool {
        match self.headers.borrow().get(b"content-length") {
            Some(value) => put(Some(value), out),
            None => self.content_length.get().is_some_and(|it| number(it, out)),
        }
    }

    fn append_remote_user(&self, out: &mut Vec<u8>) -> bool {
        let headers = self.headers.borrow();
        let given = headers.get(b"authorization").and_then(|it| basic::read(it));
        put(given.as_ref().map(|(user, _)| &user[..]), out)
    }

    /// `$host`: of the request, else the server's name.
    pub fn host_or_name(&self) -> Bytes {
        let host = self.host.borrow();
        if host.is_empty() {
            let name = &self.snapshot.server(self.server.get()).name;
            return Bytes::copy_from_slice(name.as_bytes());
        }
        host.clone()
    }

    /// `$request_id`: 16 random bytes in hexadecimal, the same for the whole request.
    pub fn request_id(&self) -> Bytes {
        self.request_id
            .borrow_mut()
            .get_or_insert_with(|| {
                let mut random = [0u8; 16];
                rand::rng().fill_bytes(&mut random);
                let mut text = Vec::with_capacity(32);
                for byte in random {
                    let _ = write!(text, "{byte:02x}");
                }
                text.into()
            })
            .clone()
    }

    /// The client's address.
    pub fn client_ip(&self) -> Option<IpAddr> {
        match &self.connection.client {
            Address::Inet(address) => Some(address.ip().to_canonical()),
            Address::Unix => None,
        }
    }
}

/// A level of computed variables: gives itself back.
pub(super) struct Deeper<'a>(&'a Cell<u8>);

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

fn limited(said: Option<Limited>, out: &mut Vec<u8>) -> bool {
    put(said.map(|it| it.as_str().as_bytes()), out)
}

fn some(value: &Bytes, out: &mut Vec<u8>) -> bool {
    !value.is_empty() && put(Some(value), out)
}
