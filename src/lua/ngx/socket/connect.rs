//! `tcpsock:connect`: a connection of the pool, or a new one.

use super::Closes;
use super::Link;
use super::Side;
use super::Tcp;
use super::Teller;
use super::failed;
use super::refuse;
use super::this;
use crate::cosocket::Error;
use crate::cosocket::Intake;
use crate::cosocket::Lease;
use crate::cosocket::Stream;
use crate::cosocket::Target;
use crate::cosocket::pool::Begin;
use crate::cosocket::pool::Pool;
use crate::cosocket::refusal;
use crate::cosocket::stream::strip_unix;
use crate::log::Level;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::resolver::Resolver;
use crate::sys::errno::{Errno, fails_at_once, is_grave};
use smallvec::smallvec;
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The table of options at the end.
#[derive(Default)]
struct Options {
    pool: Option<Vec<u8>>,
    pool_size: Option<usize>,
    backlog: Option<usize>,
}

/// `bind(address)`: connections come from there.
pub(super) fn bind(call: &Call<'_>) -> ApiResult {
    let (socket, address) = super::binding::<Tcp>(call)?;
    let Some(address) = address else { return refuse(call, "bad address") };
    socket.local.set(Some(address));
    call.vm().trace(format_args!("lua tcp socket bind ip: {address}"));
    call.reply(true)
}

/// `connect(host, port?, options?)`
pub(super) fn connect(call: &Call<'_>) -> ApiResult {
    let mut count = call.count();
    if !(2..=4).contains(&count) {
        let text = "ngx.socket connect: expecting 2, 3, or 4 arguments (including the object), \
                    but seen";
        return Err(format!("{text} {count}").into());
    }
    let socket = this::<Tcp>(call)?;
    let host = call.bytes(2)?;
    let mut options = Options::default();
    if call.kind(count as c_int) == Kind::Table {
        options = read_options(call, count as c_int)?;
        count -= 1;
    }
    let port = if count >= 3 { call.stack().number(3) } else { None };
    let (port, key) = match port {
        Some(port) if !(0.0..=65535.0).contains(&port.trunc()) => {
            return refuse(call, format_args!("bad port number: {}", port as i64));
        }
        Some(port) => {
            let mut key = host.to_vec();
            key.push(b':');
            key.extend_from_slice(call.stack().text(3).unwrap_or_default());
            (port as u16, key)
        }
        None if strip_unix(&String::from_utf8_lossy(host)).is_some() => (0, host.to_vec()),
        None => return refuse(call, "missing the port number"),
    };
    let owner = super::claimed(call, &socket.owner)?;
    if let Some(text) = socket.busy(&[Side::Connect, Side::Read, Side::Write]) {
        return refuse(call, text);
    }
    if socket.is_open() {
        call.vm().trace(format_args!("lua tcp socket reconnect without shutting down"));
    }
    if socket.was_connected.get() {
        call.vm().trace(format_args!("lua reuse socket upstream ctx"));
    }
    socket.close();
    let key = options.pool.take().unwrap_or(key);
    let attempt = Attempt::new(call, &socket, host, port);
    socket.owner.set(owner);
    socket.was_connected.set(true);
    socket.settings.replace(Arc::clone(&attempt.settings));
    let pool = find_pool(call, &key, &options, attempt.settings.pool_size);
    socket.key.replace(key);
    begin(call, attempt, pool)
}

/// # Errors
/// `bad "pool_size" option …`, which blame the table.
fn read_options(call: &Call<'_>, index: c_int) -> Result<Options, ApiError> {
    let table = call.table(index)?;
    let bad = |text: String| ApiError::argument(index, text);
    let mut options = Options::default();
    if let Some(size) = number_of(&table, "pool_size")
        .map_err(|kind| bad(format!("bad \"pool_size\" option type: {}", kind.name())))?
    {
        let fits = usize::try_from(size).ok().filter(|it| *it > 0);
        let size = fits.ok_or_else(|| bad(format!("bad \"pool_size\" option value: {size}")))?;
        options.pool_size = Some(size);
    }
    if let Some(backlog) = number_of(&table, "backlog").unwrap_or_default() {
        let fits = usize::try_from(backlog).ok();
        let text = || bad(format!("bad \"backlog\" option value: {backlog}"));
        options.backlog = Some(fits.ok_or_else(text)?);
    }
    match table.get("pool") {
        Value::Nil => {}
        Value::Number(_) | Value::Bytes(_) => {
            options.pool = call.stack().text(-1).map(<[u8]>::to_vec);
        }
        other => return Err(bad(format!("bad \"pool\" option type: {}", other.kind().name()))),
    }
    Ok(options)
}

/// # Errors
/// The type of what is no number.
fn number_of(table: &Table<'_>, name: &str) -> Result<Option<i64>, Kind> {
    match table.get(name) {
        Value::Nil => Ok(None),
        Value::Number(number) => Ok(Some(number as i64)),
        other => table.stack().number(-1).map(|it| Some(it as i64)).ok_or(other.kind()),
    }
}

/// The pool of that name; options that ask for one make it.
fn find_pool(call: &Call<'_>, key: &[u8], options: &Options, usual: usize) -> Option<Rc<Pool>> {
    let pools = &call.vm().api().sockets.pools;
    let wanted = options.pool_size.or(options.backlog.map(|_| usual));
    match wanted {
        Some(size) => Some(open_pool(call, key, size, options.backlog)),
        None => pools.find(key),
    }
}

/// The pool of that name, made now if there is none.
pub(super) fn open_pool(
    call: &Call<'_>,
    key: &[u8],
    size: usize,
    backlog: Option<usize>,
) -> Rc<Pool> {
    let pools = &call.vm().api().sockets.pools;
    if let Some(pool) = pools.find(key) {
        return pool;
    }
    let vm = call.vm();
    let waiting = backlog.map_or(-1, |it| it as i64);
    vm.trace(format_args!("lua tcp socket connection pool size: {size}, backlog: {waiting}"));
    let shown = String::from_utf8_lossy(key);
    vm.trace(format_args!("lua tcp socket keepalive create connection pool for key \"{shown}\""));
    pools.open(key, size, backlog)
}

/// A connection on its way.
struct Attempt {
    socket: Rc<Tcp>,
    settings: Arc<crate::cosocket::Settings>,
    resolver: Option<Arc<Resolver>>,
    teller: Teller,
    host: Vec<u8>,
    port: u16,
    patience: Duration,
}

impl Attempt {
    fn new(call: &Call<'_>, socket: &Rc<Tcp>, host: &[u8], port: u16) -> Self {
        let settings = super::settings_of(call);
        let patience_ms = socket.timeouts.get().connect.unwrap_or(settings.connect_timeout_ms);
        Self {
            socket: Rc::clone(socket),
            resolver: call.vm().request().and_then(|it| it.conf().resolver.clone()),
            teller: Teller::new(call, &settings),
            settings,
            host: host.to_vec(),
            port,
            patience: Duration::from_millis(patience_ms),
        }
    }

    /// The socket has a connection.
    fn connected(&self, stream: Stream, lease: Option<Lease>, reused: u64) {
        let link = Link { stream, intake: Intake::default(), lease, reused };
        self.socket.link.replace(Some(link));
        self.socket.read_closed.set(false);
        self.socket.write_closed.set(false);
    }

    /// # Errors
    /// Why there is no connection.
    async fn establish(&self, begin: Option<Begin>) -> Result<(), Error> {
        let begin = match begin {
            Some(Begin::Wait(queued)) => {
                if tokio::time::timeout(self.patience, queued.called()).await.is_err() {
                    let host = String::from_utf8_lossy(&self.host);
                    self.teller.say(format_args!(
                        "lua tcp socket queued connect timed out, when trying to connect to \
                         {host}:{}",
                        self.port
                    ));
                    return Err(Error::Timeout);
                }
                queued.begin()
            }
            other => other,
        };
        let lease = match begin {
            Some(Begin::Reused(stream, reused, lease)) => {
                self.connected(stream, Some(lease), reused);
                return Ok(());
            }
            Some(Begin::Connect(lease)) => Some(lease),
            _ => None,
        };
        let target = Target::parse(&self.host, self.port)?;
        refusal::check(|| format!("tcp {target}"))?;
        let target = self.resolve(target).await?;
        self.socket.opens();
        let connect = Stream::connect(&target, self.socket.local.get());
        match tokio::time::timeout(self.patience, connect).await {
            Ok(Ok(stream)) => self.connected(stream, lease, 0),
            Ok(Err(error)) => {
                let level = if is_grave(&error) { Level::Crit } else { Level::Error };
                let reason = Errno(&error);
                if matches!(target, Target::Unix(_)) || fails_at_once(&error) {
                    let text = format_args!("connect() to {target} failed {reason}");
                    self.teller.say_at(level, text);
                } else {
                    self.teller.say(format_args!("connect() failed {reason}"));
                }
                return Err(error.into());
            }
            Err(_) => {
                self.teller.say(format_args!(
                    "lua tcp socket connect timed out, when connecting to {target}"
                ));
                return Err(Error::Timeout);
            }
        }
        Ok(())
    }

    async fn resolve(&self, target: Target) -> Result<Target, Error> {
        resolve(self.resolver.as_deref(), target).await
    }
}

/// An address of `target`, one of them at random when it is a name with several.
///
/// # Errors
/// `no resolver defined to resolve "…"`, or the resolver's.
pub(super) async fn resolve(resolver: Option<&Resolver>, target: Target) -> Result<Target, Error> {
    let Target::Name(name, port) = target else { return Ok(target) };
    let Some(resolver) = resolver else {
        return Err(Error::Text(format!("no resolver defined to resolve \"{name}\"")));
    };
    let found = resolver.resolve(&name).await.map_err(|it| Error::Text(it.to_string()))?;
    let index = if found.len() > 1 { rand::random_range(0..found.len()) } else { 0 };
    Ok(Target::Address((found[index], port).into()))
}

/// Takes an idle connection, or goes for a new one.
fn begin(call: &Call<'_>, attempt: Attempt, pool: Option<Rc<Pool>>) -> ApiResult {
    let begin = pool.map(|it| it.begin(false));
    let weak: std::rc::Weak<dyn Closes> = Rc::downgrade(&attempt.socket) as _;
    super::close_with_request(call, weak);
    match begin {
        Some(Begin::Reused(stream, reused, lease)) => {
            let shown = Rc::as_ptr(&attempt.socket);
            let text = "lua tcp socket get keepalive peer: using connection";
            call.vm().trace(format_args!("{text} {shown:p}"));
            attempt.connected(stream, Some(lease), reused);
            return call.reply(1);
        }
        Some(Begin::Full) => return refuse(call, "too many waiting connect operations"),
        _ => {}
    }
    call.check_yieldable()?;
    let patience_ms = attempt.patience.as_millis();
    if matches!(begin, Some(Begin::Wait(_))) {
        let key = attempt.socket.key.borrow();
        let shown = String::from_utf8_lossy(&key);
        let text = "lua tcp socket queue connect operation for connection pool";
        call.vm().trace(format_args!("{text} \"{shown}\""));
    } else {
        call.vm().trace(format_args!("lua tcp socket connect timeout: {patience_ms}"));
    }
    call.suspend(async move {
        let busy = attempt.socket.begin(Side::Connect);
        let result = attempt.establish(begin).await;
        match result {
            Ok(()) => {
                busy.done();
                smallvec![Owned::Number(1.0)]
            }
            Err(error) => failed(&error),
        }
    })
}
