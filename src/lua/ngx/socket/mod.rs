//! `ngx.socket`: cosockets. A socket belongs to the request whose script connected it, and is
//! closed with it.

pub mod connect;
pub mod downstream;
pub mod keep;
pub mod receive;
pub mod send;
pub mod tls;
pub mod udp;

#[cfg(test)]
mod tests;

use crate::cosocket::Error;
use crate::cosocket::Intake;
use crate::cosocket::Lease;
use crate::cosocket::Pools;
use crate::cosocket::Settings;
use crate::cosocket::Stream;
use crate::cosocket::tls::Session;
use crate::log::Level;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::object::Object;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Values;
use crate::lua::ngx::state::of_request;
use crate::request::Request;
use smallvec::smallvec;
use std::cell::Cell;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Arguments;
use std::net::IpAddr;
use std::rc::Rc;
use std::rc::Weak;
use std::sync::Arc;

functions! {
    /// What the prelude makes `ngx.socket` of.
    pub NATIVE "native.socket" {
        new_client: HANDLERS => downstream::new_client,
        new_tcp: YIELDING => new_tcp,
        new_udp: YIELDING => udp::new_udp,
        set_iterator: ANY => receive::set_iterator,
        receive_until: ANY => receive::receive_until,
        sslhandshake: ANY => tls::handshake,
        free_session: ANY => tls::free_session,
    }
}

functions! {
    /// Methods of TCP sockets.
    pub TCP "native.socket.tcp" {
        bind: YIELDING => connect::bind,
        close: ANY => keep::close,
        connect: YIELDING => connect::connect,
        getoption: ANY => keep::getoption,
        getreusedtimes: ANY => keep::getreusedtimes,
        receive: ANY => receive::receive,
        receiveany: ANY => receive::receiveany,
        receiveuntil: ANY => receive::receiveuntil,
        send: ANY => send::send,
        setkeepalive: ANY => keep::setkeepalive,
        setoption: ANY => keep::setoption,
        settimeout: ANY => keep::settimeout,
        settimeouts: ANY => keep::settimeouts,
    }
}

functions! {
    /// Methods of UDP sockets.
    pub UDP "native.socket.udp" {
        bind: YIELDING => udp::bind,
        close: ANY => udp::close,
        receive: ANY => udp::receive,
        send: ANY => udp::send,
        setpeername: YIELDING => udp::setpeername,
        settimeout: ANY => udp::settimeout,
    }
}

/// What a VM keeps of its sockets.
#[derive(Default)]
pub struct Sockets {
    /// Idle connections.
    pub pools: Rc<Pools>,
    /// TLS sessions that scripts hold, by number.
    pub sessions: RefCell<HashMap<u64, Rc<Session>>>,
    /// The last number.
    pub last_session: Cell<u64>,
    /// Makes the function that `receiveuntil` gives of a socket and a state.
    pub iterator: OnceCell<Anchor>,
}

/// Anything that is to be closed with its request.
pub trait Closes {
    /// Closes it.
    fn close(&self);
}

/// The sockets of one request, to be closed with it.
#[derive(Default)]
pub struct OfRequest(Vec<Weak<dyn Closes>>);

impl OfRequest {
    fn add(&mut self, socket: Weak<dyn Closes>) {
        // A script may open sockets without end: those that are gone make room.
        if self.0.len() >= 16 && self.0.len().is_power_of_two() {
            self.0.retain(|it| it.strong_count() > 0);
        }
        self.0.push(socket);
    }
}

impl Drop for OfRequest {
    fn drop(&mut self) {
        for socket in self.0.drain(..).filter_map(|it| it.upgrade()) {
            socket.close();
        }
    }
}

/// What stands for code without a request among [`owner_of`]'s numbers.
const NOBODY: u64 = u64::MAX;

/// Who may use a socket: the number of its request.
fn owner_of(call: &Call<'_>) -> u64 {
    let request = call.vm().request();
    request.map_or(NOBODY, |it| of_request(call.vm(), &it, |kept| kept.serial))
}

/// Sees that `socket` is closed with the request that runs; one of a subrequest lives as long as
/// the client's request, as nginx's do, which keep all memory until then.
pub(in crate::lua::ngx) fn close_with_request(call: &Call<'_>, socket: Weak<dyn Closes>) {
    if let Some(request) = call.vm().request() {
        of_request(call.vm(), request.main(), |kept| kept.sockets.add(socket));
    }
}

/// The settings of sockets where the script runs.
fn settings_of(call: &Call<'_>) -> Arc<Settings> {
    call.vm().request().map(|it| Arc::clone(&it.conf().cosocket)).unwrap_or_default()
}

/// Whom errors of a socket are told, if anybody wants to know (`lua_socket_log_errors`).
#[derive(Clone)]
struct Teller(Option<Rc<Request>>);

impl Teller {
    fn new(call: &Call<'_>, settings: &Settings) -> Self {
        Self(call.vm().request().filter(|_| settings.log_errors))
    }

    fn say(&self, text: Arguments<'_>) {
        self.say_at(Level::Error, text);
    }

    fn say_at(&self, level: Level, text: Arguments<'_>) {
        if let Some(request) = &self.0 {
            request.log(level, text);
        }
    }
}

/// Times a script has set, milliseconds; `None` is the setting's.
#[derive(Clone, Copy, Debug, Default)]
struct Timeouts {
    connect: Option<u64>,
    send: Option<u64>,
    read: Option<u64>,
}

/// A connection in use.
#[derive(Debug)]
struct Link {
    stream: Stream,
    intake: Intake,
    lease: Option<Lease>,
    reused: u64,
}

/// A TCP cosocket.
#[derive(Debug, Default)]
pub struct Tcp {
    /// By [`owner_of`]; 0 for none yet.
    owner: Cell<u64>,
    timeouts: Cell<Timeouts>,
    settings: RefCell<Arc<Settings>>,
    /// The name of its pool.
    key: RefCell<Vec<u8>>,
    local: Cell<Option<IpAddr>>,
    link: RefCell<Option<Link>>,
    was_connected: Cell<bool>,
    read_closed: Cell<bool>,
    write_closed: Cell<bool>,
    connecting: Cell<bool>,
    /// There is a connection that cannot be used yet: it is being opened, or shakes hands.
    is_opening: Cell<bool>,
    reading: Cell<bool>,
    writing: Cell<bool>,
}

impl Closes for Tcp {
    fn close(&self) {
        let link = self.link.take();
        self.read_closed.set(true);
        self.write_closed.set(true);
        drop(link);
    }
}

/// What an operation does with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Connect,
    Read,
    Write,
}

impl Tcp {
    fn flag(&self, side: Side) -> &Cell<bool> {
        match side {
            Side::Connect => &self.connecting,
            Side::Read => &self.reading,
            Side::Write => &self.writing,
        }
    }

    /// `socket busy …`, if one of `sides` is.
    fn busy(&self, sides: &[Side]) -> Option<&'static str> {
        let side = sides.iter().find(|it| self.flag(**it).get())?;
        Some(match side {
            Side::Connect => "socket busy connecting",
            Side::Read => "socket busy reading",
            Side::Write => "socket busy writing",
        })
    }

    /// From now on it is busy connecting, where it was closed.
    fn opens(&self) {
        self.is_opening.set(true);
        self.read_closed.set(false);
        self.write_closed.set(false);
    }

    fn is_open(&self) -> bool {
        self.is_opening.get() || self.link.borrow().is_some()
    }

    /// Begins an operation, which ends with `Busy::done`; given up, it closes the socket.
    fn begin(self: &Rc<Self>, side: Side) -> Busy {
        self.flag(side).set(true);
        Busy { socket: Rc::clone(self), side, is_done: false }
    }
}

/// An operation under way.
struct Busy {
    socket: Rc<Tcp>,
    side: Side,
    is_done: bool,
}

impl Busy {
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.socket.flag(self.side).set(false);
        if self.side == Side::Connect {
            self.socket.is_opening.set(false);
        }
        if !self.is_done {
            self.socket.close();
        }
    }
}

/// `new_tcp(metatable, …)`: `ngx.socket.tcp()`.
fn new_tcp(call: &Call<'_>) -> ApiResult {
    make(call, || Object(Rc::new(Tcp::default())))
}

/// A socket object: `{ [1] = … }` with the metatable given first, and no other argument.
fn make(call: &Call<'_>, object: impl FnOnce() -> Object) -> ApiResult {
    let count = call.count() - 1;
    if count != 0 {
        return Err(format!("expecting zero arguments, but got {count}").into());
    }
    if call.vm().request().is_none() && call.vm().host().is_some() {
        return Err("no request found".into());
    }
    let methods = call.table(1)?;
    let stack = call.stack();
    let table = stack.new_table(4, 0);
    table.set_index(1, object());
    table.set_metatable(&methods);
    call.reply(&table)
}

/// The socket in argument 1.
///
/// # Errors
/// It is no table, or not a socket's.
fn this<T: 'static>(call: &Call<'_>) -> Result<Rc<T>, ApiError> {
    let table = call.table(1)?;
    table.get(1.0);
    call.stack().object(-1).ok_or(ApiError::from("bad request"))
}

/// The socket and the address of `bind(address)`; `None` is no address.
///
/// # Errors
/// There is not one argument beside the socket, or it is no text.
fn binding<T: 'static>(call: &Call<'_>) -> Result<(Rc<T>, Option<IpAddr>), ApiError> {
    let count = call.count();
    if count != 2 {
        return Err(format!("expecting 2 arguments, but got {count}").into());
    }
    let socket = this::<T>(call)?;
    Ok((socket, String::from_utf8_lossy(call.bytes(2)?).parse().ok()))
}

/// The caller, who may take a socket of `owner`, 0 being nobody.
///
/// # Errors
/// It belongs to another request.
fn claimed(call: &Call<'_>, owner: &Cell<u64>) -> Result<u64, ApiError> {
    let caller = owner_of(call);
    if [0, caller].contains(&owner.get()) { Ok(caller) } else { Err("bad request".into()) }
}

/// Whether the caller has connected the socket of `owner`.
///
/// # Errors
/// Another request has.
fn check_owner(call: &Call<'_>, owner: &Cell<u64>) -> Result<(), ApiError> {
    if owner.get() == owner_of(call) { Ok(()) } else { Err("bad request".into()) }
}

/// `nil, text`.
fn refuse(call: &Call<'_>, text: impl std::fmt::Display) -> ApiResult {
    call.reply((None::<bool>, text.to_string()))
}

/// `nil, error`.
fn failed(error: &Error) -> Values {
    smallvec![Owned::Nil, Owned::Bytes(error.to_string().into_bytes())]
}
