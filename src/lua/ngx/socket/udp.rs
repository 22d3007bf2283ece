//! `ngx.socket.udp`: datagrams.

use super::Closes;
use super::Teller;
use super::failed;
use super::refuse;
use super::send::payload;
use super::this;
use crate::cosocket::Error;
use crate::cosocket::Settings;
use crate::cosocket::Target;
use crate::cosocket::refusal;
use crate::cosocket::stream::strip_unix;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::call::Reply;
use crate::lua::ffi::object::Object;
use crate::lua::ffi::value::Owned;
use crate::sys::errno::Errno;
use smallvec::smallvec;
use socket2::SockRef;
use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::net::UnixDatagram;

/// The largest datagram.
const MAX_DATAGRAM: usize = 65_536;

/// A UDP cosocket.
#[derive(Debug, Default)]
pub struct Udp {
    owner: Cell<u64>,
    timeout_ms: Cell<Option<u64>>,
    settings: RefCell<Arc<Settings>>,
    local: Cell<Option<IpAddr>>,
    socket: RefCell<Option<Rc<Socket>>>,
    is_busy: Cell<bool>,
}

#[derive(Debug)]
enum Socket {
    Inet(UdpSocket),
    Unix(UnixDatagram),
}

impl Socket {
    /// # Errors
    /// The operating system's.
    async fn connect(target: &Target, local: Option<IpAddr>) -> io::Result<Self> {
        match target {
            Target::Unix(path) => {
                let socket = socket2::Socket::new(
                    socket2::Domain::UNIX,
                    socket2::Type::DGRAM.nonblocking().cloexec(),
                    None,
                )?;
                // An address of its own, so that the other side can answer.
                socket.bind(&socket2::SockAddr::unix("")?)?;
                socket.connect(&socket2::SockAddr::unix(path)?)?;
                Ok(Self::Unix(UnixDatagram::from_std(socket.into())?))
            }
            Target::Address(address) => {
                let any: IpAddr = match address {
                    SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((local.unwrap_or(any), 0)).await?;
                socket.connect(address).await?;
                Ok(Self::Inet(socket))
            }
            Target::Name(..) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Sends at once, whatever the event loop knows.
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Inet(socket) => SockRef::from(socket).send(bytes),
            Self::Unix(socket) => SockRef::from(socket).send(bytes),
        }
    }

    fn fd(&self) -> std::os::fd::RawFd {
        match self {
            Self::Inet(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
        }
    }

    async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Inet(socket) => socket.send(bytes).await,
            Self::Unix(socket) => socket.send(bytes).await,
        }
    }

    async fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Inet(socket) => socket.recv(room).await,
            Self::Unix(socket) => socket.recv(room).await,
        }
    }
}

impl Closes for Udp {
    fn close(&self) {
        let socket = self.socket.take();
        drop(socket);
    }
}

/// A wait of a socket; given up, it closes it.
struct Busy {
    socket: Rc<Udp>,
    is_done: bool,
}

impl Busy {
    fn begin(socket: &Rc<Udp>) -> Self {
        socket.is_busy.set(true);
        Self { socket: Rc::clone(socket), is_done: false }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.socket.is_busy.set(false);
        if !self.is_done {
            self.socket.close();
        }
    }
}

/// `new_udp(metatable, …)`: `ngx.socket.udp()`.
pub(super) fn new_udp(call: &Call<'_>) -> ApiResult {
    super::make(call, || Object(Rc::new(Udp::default())))
}

/// `bind(address)`
pub(super) fn bind(call: &Call<'_>) -> ApiResult {
    let (socket, address) = super::binding::<Udp>(call)?;
    let Some(address) = address else { return refuse(call, "bad address") };
    socket.local.set(Some(address));
    call.reply(true)
}

/// `settimeout(milliseconds)`
pub(super) fn settimeout(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count < 2 {
        let text = "ngx.socket settimeout: expecting at least 2 arguments (including the object) \
                    but seen";
        return Err(format!("{text} {count}").into());
    }
    let timeout = call.number(2)? as i64;
    this::<Udp>(call)?.timeout_ms.set(u64::try_from(timeout).ok().filter(|it| *it > 0));
    Ok(Reply::Values(0))
}

/// `setpeername(host, port?)`
pub(super) fn setpeername(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 2 && count != 3 {
        let text = "ngx.socket.udp setpeername: expecting 2 or 3 arguments (including the \
                    object), but seen";
        return Err(format!("{text} {count}").into());
    }
    let socket = this::<Udp>(call)?;
    let host = call.bytes(2)?;
    let port = match (strip_unix(&String::from_utf8_lossy(host)), count) {
        (Some(_), _) => 0,
        (None, 2) => return refuse(call, "missing the port number"),
        (None, _) => match call.integer(3)? {
            port @ 0..=65535 => port as u16,
            port => return refuse(call, format_args!("bad port number: {port}")),
        },
    };
    let owner = super::claimed(call, &socket.owner)?;
    if socket.is_busy.get() {
        return refuse(call, "socket busy");
    }
    if socket.owner.get() != 0 {
        let vm = call.vm();
        vm.trace(format_args!("lua reuse socket upstream ctx"));
        if socket.socket.borrow().is_some() {
            vm.trace(format_args!("lua udp socket reconnect without shutting down"));
        }
    }
    socket.close();
    socket.owner.set(owner);
    socket.settings.replace(super::settings_of(call));
    let weak: Weak<dyn Closes> = Rc::downgrade(&socket) as _;
    super::close_with_request(call, weak);
    let target = match Target::parse(host, port) {
        Ok(target) => target,
        Err(error) => return refuse(call, error),
    };
    let resolver = call.vm().request().and_then(|it| it.conf().resolver.clone());
    call.suspend(async move {
        let mut busy = Busy::begin(&socket);
        let connected = async {
            refusal::check(|| format!("udp {target}"))?;
            let target = super::connect::resolve(resolver.as_deref(), target).await?;
            Ok(Socket::connect(&target, socket.local.get()).await?)
        };
        match connected.await {
            Ok(connected) => {
                socket.socket.replace(Some(Rc::new(connected)));
                busy.is_done = true;
                smallvec![Owned::Number(1.0)]
            }
            Err(error) => failed(&error),
        }
    })
}

/// A socket, and what it sends by.
type Connected = (Rc<Udp>, Rc<Socket>);

/// The socket under argument 1, if it can be used; otherwise what to answer.
fn usable(call: &Call<'_>, what: &str) -> Result<Result<Connected, &'static str>, ApiError> {
    let socket = this::<Udp>(call)?;
    let Some(connected) = socket.socket.borrow().as_ref().map(Rc::clone) else {
        Teller::new(call, &socket.settings.borrow()).say(format_args!(
            "attempt to {what} data on a closed socket: u:{:p}, c:{:p}",
            Rc::as_ptr(&socket),
            std::ptr::null::<u8>()
        ));
        return Ok(Err("closed"));
    };
    super::check_owner(call, &socket.owner)?;
    if socket.is_busy.get() {
        return Ok(Err("socket busy"));
    }
    Ok(Ok((socket, connected)))
}

/// `send(datagram)`
pub(super) fn send(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 2 {
        let text = "expecting 2 arguments (including the object), but got";
        return Err(format!("{text} {count}").into());
    }
    let (_, connected) = match usable(call, "send")? {
        Ok(both) => both,
        Err(text) => return refuse(call, text),
    };
    let bytes = payload(call)?;
    match connected.try_send(&bytes) {
        Ok(count) => {
            let (fd, length) = (connected.fd(), bytes.len());
            call.vm().trace(format_args!("send: fd:{fd} {count} of {length}"));
            return call.reply(1);
        }
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            return refuse(call, Error::from(error));
        }
        Err(_) => {}
    }
    let bytes = bytes.into_owned();
    call.suspend(async move {
        match connected.send(&bytes).await {
            Ok(_) => smallvec![Owned::Number(1.0)],
            Err(error) => failed(&error.into()),
        }
    })
}

/// `receive(size?)`: one datagram, cut to `size` bytes.
pub(super) fn receive(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 1 && count != 2 {
        let text = "expecting 1 or 2 arguments (including the object), but got";
        return Err(format!("{text} {count}").into());
    }
    let (socket, connected) = match usable(call, "receive")? {
        Ok(both) => both,
        Err(text) => return refuse(call, text),
    };
    let size = call.opt_number(2)?.map_or(MAX_DATAGRAM, |it| it.max(0.0) as usize);
    let size = size.min(MAX_DATAGRAM);
    let settings = socket.settings.borrow().clone();
    let patience_ms = socket.timeout_ms.get().unwrap_or(settings.read_timeout_ms);
    let teller = Teller::new(call, &settings);
    call.vm().trace(format_args!("lua udp socket receive buffer size: {size}"));
    call.check_yieldable()?;
    call.suspend(async move {
        let mut busy = Busy::begin(&socket);
        let mut room = vec![0; size];
        let received = connected.receive(&mut room);
        let received = tokio::time::timeout(Duration::from_millis(patience_ms), received).await;
        busy.is_done = true;
        match received {
            Ok(Ok(count)) => {
                room.truncate(count);
                smallvec![Owned::Bytes(room)]
            }
            Ok(Err(error)) => {
                teller.say(format_args!("recv() failed {}", Errno(&error)));
                failed(&error.into())
            }
            Err(_) => {
                teller.say(format_args!("lua udp socket read timed out"));
                failed(&Error::Timeout)
            }
        }
    })
}

/// `close()`
pub(super) fn close(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 1 {
        let text = "expecting 1 argument (including the object) but seen";
        return Err(format!("{text} {count}").into());
    }
    let socket = this::<Udp>(call)?;
    if socket.socket.borrow().is_none() {
        return refuse(call, "closed");
    }
    super::check_owner(call, &socket.owner)?;
    if socket.is_busy.get() {
        return refuse(call, "socket busy");
    }
    socket.close();
    call.reply(1)
}
