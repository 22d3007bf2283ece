//! Ports that nobody else uses.

use socket2::{Domain, Socket, Type};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Below the kernel's ephemeral range, so that no outgoing connection takes one of them, and five
/// digits each, so that texts with two different ports have the same length.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// A port of 127.0.0.1 that is free now; this process alone is given it, once.
///
/// Two servers that are started on one port would both listen, as their sockets say
/// `SO_REUSEPORT`, and each get half of the other's clients. So a port is claimed by a lock on a
/// file, which every test process of this user asks for and keeps until it ends.
pub fn free() -> u16 {
    static GIVEN: Mutex<Option<(Vec<File>, u16)>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (claims, next) = given.get_or_insert_with(|| (Vec::new(), first()));
    let folder = claims_folder();
    for _ in RANGE {
        *next = if *next + 1 < RANGE.end { *next + 1 } else { RANGE.start };
        let Some(claim) = claim(&folder, *next) else { continue };
        if is_free(*next) {
            claims.push(claim);
            return *next;
        }
    }
    panic!("no free port in {RANGE:?}");
}

/// Whether nobody has `port`. It is bound for a moment and does not listen: a child that another
/// thread is starting may hold that socket until its `exec`, and who connected meanwhile would be
/// reset then.
fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|socket| {
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())
    });
    bound.is_ok()
}

/// The lock on `port`; `None` where somebody has it, this process included.
fn claim(folder: &Path, port: u16) -> Option<File> {
    let path = folder.join(port.to_string());
    let file = File::options().create(true).append(true).open(path).expect("a file for a claim");
    file.try_lock().is_ok().then_some(file)
}

/// Where the claims of this user's test processes are; their files are empty.
fn claims_folder() -> PathBuf {
    // The owner of /proc/self is the effective user.
    let user = fs::metadata("/proc/self").map_or(0, |it| it.uid());
    let folder = std::env::temp_dir().join(format!("moongate-ports-{user}"));
    fs::create_dir_all(&folder).expect("a folder for claims");
    folder
}

/// Test processes that run at once begin at different places.
fn first() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.subsec_nanos());
    let seed = now.wrapping_mul(2_654_435_761) ^ std::process::id().wrapping_mul(40_503);
    RANGE.start + (seed % u32::from(RANGE.end - RANGE.start)) as u16
}

/// A port that refuses every connection for as long as this lives: it is bound and never listens.
pub struct Refusing {
    /// The port, of 127.0.0.1.
    pub port: u16,
    _socket: Socket,
}

impl Refusing {
    /// Takes a port.
    pub fn start() -> Self {
        loop {
            let port = free();
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if socket.bind(&address.into()).is_ok() {
                return Self { port, _socket: socket };
            }
        }
    }
}

#[test]
fn a_port_is_claimed_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = claim(folder.path(), 15_000);
    assert!(first.is_some() && claim(folder.path(), 15_001).is_some());
    assert!(claim(folder.path(), 15_000).is_none(), "somebody has it");
    drop(first);
    assert!(claim(folder.path(), 15_000).is_some(), "who had it has ended");
}
