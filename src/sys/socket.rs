//! Listening sockets: one a worker for each address, all of one address sharing its connections.

use crate::sys::errno::Failure;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// nginx's default length of the queue of connections that wait to be accepted.
pub const DEFAULT_BACKLOG: i32 = 511;
/// Whoever may reach a unix socket's folder may connect, as with nginx.
const UNIX_MODE: u32 = 0o666;

/// Where a server listens: ours, or a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An address and port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    /// As `listen` and `server` take it: `0.0.0.0:80`, `[::]:80`, `unix:/run/x.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How an address is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections that may wait to be accepted.
    pub backlog: i32,
    /// Whether `[::]` leaves IPv4 to others; nginx's default.
    pub ipv6_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { backlog: DEFAULT_BACKLOG, ipv6_only: true }
    }
}

/// A listening socket, not blocking, closed on exec.
#[derive(Debug)]
pub enum Listener {
    /// For TCP.
    Tcp(std::net::TcpListener),
    /// For a unix socket.
    Unix(std::os::unix::net::UnixListener),
}

impl Listener {
    /// The same queue of connections once more: how the workers share a unix socket.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(it) => Self::Tcp(it.try_clone()?),
            Self::Unix(it) => Self::Unix(it.try_clone()?),
        })
    }

    /// Where it listens; the port is real even if 0 was asked for.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Self::Tcp(it) => Address::Tcp(it.local_addr()?),
            Self::Unix(it) => {
                let path = it.local_addr()?.as_pathname().map(Path::to_owned);
                Address::Unix(path.unwrap_or_default())
            }
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(it) => it.as_fd(),
            Self::Unix(it) => it.as_fd(),
        }
    }
}

/// Checks that nobody listens on `address`, by binding it alone for a moment. Sockets with
/// `SO_REUSEPORT` alone would share it silently with another Moongate of the same user. It is not
/// listened on: who connected in that moment would be reset.
///
/// # Errors
/// `bind() to 0.0.0.0:8080 failed (98: Address already in use)` and the like.
pub fn claim(address: &Address, options: &Options) -> Result<(), Failure> {
    match address {
        Address::Tcp(tcp) => bound(address, &SockAddr::from(*tcp), options, false).map(drop),
        Address::Unix(path) => remove_stale(path, address),
    }
}

/// Listens on `address`, which [`claim`] found free. For TCP each worker calls this; for a unix
/// socket the first, and the others take [`Listener::try_clone`].
///
/// # Errors
/// `bind() to ADDRESS failed (CODE: TEXT)`, or another call by its name.
pub fn listen(address: &Address, options: &Options) -> Result<Listener, Failure> {
    match address {
        Address::Tcp(tcp) => {
            let socket = listening(address, &SockAddr::from(*tcp), options, true)?;
            Ok(Listener::Tcp(socket.into()))
        }
        Address::Unix(path) => {
            remove_stale(path, address)?;
            let unix = SockAddr::unix(path).map_err(|it| failed("bind() to", address, it))?;
            let socket = listening(address, &unix, options, false)?;
            let opened = fs::set_permissions(path, Permissions::from_mode(UNIX_MODE));
            opened.map_err(|it| Failure::new(format!("chmod() \"{}\"", path.display()), it))?;
            Ok(Listener::Unix(socket.into()))
        }
    }
}

fn listening(
    address: &Address,
    place: &SockAddr,
    options: &Options,
    reuse_port: bool,
) -> Result<Socket, Failure> {
    let socket = bound(address, place, options, reuse_port)?;
    socket.listen(options.backlog).map_err(|error| failed("listen() to", address, error))?;
    Ok(socket)
}

fn bound(
    address: &Address,
    place: &SockAddr,
    options: &Options,
    reuse_port: bool,
) -> Result<Socket, Failure> {
    let call = |name: &'static str| move |error| failed(name, address, error);
    let domain = place.domain();
    let socket = Socket::new(domain, Type::STREAM, None).map_err(call("socket()"))?;
    if domain != Domain::UNIX {
        socket.set_reuse_address(true).map_err(call("setsockopt(SO_REUSEADDR)"))?;
    }
    if reuse_port {
        socket.set_reuse_port(true).map_err(call("setsockopt(SO_REUSEPORT)"))?;
    }
    if domain == Domain::IPV6 {
        socket.set_only_v6(options.ipv6_only).map_err(call("setsockopt(IPV6_V6ONLY)"))?;
    }
    socket.set_nonblocking(true).map_err(call("ioctl(FIONBIO)"))?;
    socket.bind(place).map_err(call("bind() to"))?;
    Ok(socket)
}

fn failed(call: &str, address: &Address, error: io::Error) -> Failure {
    Failure::new(format!("{call} {address}"), error)
}

/// Removes the socket of a server that is gone; one that answers, or another kind of file, is in
/// use.
fn remove_stale(path: &Path, address: &Address) -> Result<(), Failure> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let refused = |it: io::Error| it.kind() == io::ErrorKind::ConnectionRefused;
    let is_stale = found.file_type().is_socket()
        && std::os::unix::net::UnixStream::connect(path).is_err_and(refused);
    if !is_stale {
        let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE);
        return Err(failed("bind() to", address, in_use));
    }
    fs::remove_file(path).map_err(|it| Failure::new(format!("unlink() \"{}\"", path.display()), it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    fn anywhere() -> Address {
        Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    #[test]
    fn workers_share_an_address_that_a_second_server_cannot_claim() {
        let options = Options::default();
        let first = listen(&anywhere(), &options).unwrap();
        let address = first.address().unwrap();
        let _second = listen(&address, &options).unwrap();
        let fault = claim(&address, &options).unwrap_err().to_string();
        assert_eq!(fault, format!("bind() to {address} failed (98: Address already in use)"));
    }

    #[test]
    fn an_address_that_was_claimed_is_free() {
        let options = Options::default();
        let address = listen(&anywhere(), &options).unwrap().address().unwrap();
        claim(&address, &options).unwrap();
        let Listener::Tcp(listener) = listen(&address, &options).unwrap() else { panic!("TCP") };
        let Address::Tcp(tcp) = address else { panic!("TCP") };
        let _client = TcpStream::connect(tcp).unwrap();
        while listener.accept().is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock) {}
    }

    #[test]
    fn who_connects_while_an_address_is_claimed_is_never_reset() {
        let options = Options::default();
        let address = listen(&anywhere(), &options).unwrap().address().unwrap();
        let Address::Tcp(tcp) = address else { panic!("TCP") };
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let clients = scope.spawn(|| {
                let mut refused = 0;
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    let fault = TcpStream::connect(tcp).expect_err("nobody listens");
                    assert_eq!(fault.kind(), io::ErrorKind::ConnectionRefused);
                    refused += 1;
                }
                refused
            });
            for _ in 0..2000 {
                claim(&address, &options).unwrap();
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(clients.join().expect("all were refused") > 0);
        });
    }

    #[test]
    fn ipv6_leaves_ipv4_alone_unless_told() {
        let any = Address::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
        let narrow = listen(&any, &Options::default()).unwrap();
        let wide = listen(&any, &Options { ipv6_only: false, ..Options::default() }).unwrap();
        let reaches = |it: &Listener| {
            let Address::Tcp(at) = it.address().unwrap() else { panic!("TCP") };
            TcpStream::connect((Ipv4Addr::LOCALHOST, at.port())).is_ok()
        };
        assert_eq!((reaches(&narrow), reaches(&wide)), (false, true));
    }

    #[test]
    fn unix_sockets_replace_dead_ones_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let address = Address::Unix(path.clone());
        let options = Options::default();
        let living = listen(&address, &options).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, UNIX_MODE);
        let fault = listen(&address, &options).unwrap_err();
        assert_eq!(fault.errno(), Some(libc::EADDRINUSE));
        drop(living);
        claim(&address, &options).unwrap();
        let again = listen(&address, &options).unwrap().try_clone().unwrap();
        assert_eq!(again.address().unwrap(), address);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert!(claim(&address, &options).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
    }

    #[test]
    fn addresses_read_as_listen_takes_them() {
        let v6 = Address::Tcp("[::1]:80".parse().unwrap());
        assert_eq!(v6.to_string(), "[::1]:80");
        assert_eq!(Address::Unix("/run/x".into()).to_string(), "unix:/run/x");
    }
}
