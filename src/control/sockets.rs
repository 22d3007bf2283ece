//! The listening sockets of the process, and which worker accepts from which.
//!
//! Control keeps every socket open, so that none closes with the worker that accepts from it:
//! when there are fewer workers, those that stay accept from the sockets of those that go, and no
//! client that has connected is lost.

use crate::snapshot::Snapshot;
use crate::sys::errno::Failure;
use crate::sys::socket::{self, Address, Listener, Options};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The sockets of one address.
#[derive(Debug)]
pub(super) struct Open {
    address: Address,
    options: Options,
    sockets: Vec<Socket>,
}

/// One socket.
#[derive(Debug)]
pub(super) struct Socket {
    /// Ours; the worker has a descriptor of its own.
    pub listener: Listener,
    /// The worker that accepts from it.
    pub worker: Option<usize>,
}

/// All listening sockets by the address as configured.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<Arc<str>, Open>);

/// A socket that goes from one worker to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// Which of the address's sockets.
    pub number: usize,
    /// Who accepts from it so far.
    pub from: Option<usize>,
    /// Who shall.
    pub to: usize,
}

/// Who shall accept from which socket when there are `workers`.
pub(super) fn moves(owners: &[Option<usize>], workers: usize) -> Vec<Move> {
    let wanted = owners.iter().enumerate().map(|(number, from)| {
        let to = number % workers.max(1);
        Move { number, from: *from, to }
    });
    wanted.filter(|it| it.from != Some(it.to)).collect()
}

/// The addresses that `snapshot` listens on with their options, each once.
fn wanted(snapshot: &Snapshot) -> impl Iterator<Item = (&Arc<str>, Options)> {
    snapshot.listeners.iter().map(|listener| {
        let default = Options::default();
        let backlog = listener.listen.backlog.and_then(|it| i32::try_from(it).ok());
        let options = Options {
            backlog: backlog.unwrap_or(default.backlog),
            ipv6_only: listener.listen.ipv6only.unwrap_or(default.ipv6_only),
        };
        (&listener.address, options)
    })
}

/// What `text` of the model means.
fn address(text: &str) -> Result<Address, Failure> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    text.parse().map(Address::Tcp).map_err(|_| {
        Failure::new(format!("reading the address \"{text}\""), io::ErrorKind::InvalidInput.into())
    })
}

impl Sockets {
    /// Opens the sockets that `snapshot` wants and are not open, so many of each as there are
    /// `workers`; nothing else changes. The second value is what would be added to `self`.
    ///
    /// # Errors
    /// All that could not be opened, by the address as configured.
    pub fn open_new(
        &self,
        snapshot: &Snapshot,
        workers: usize,
    ) -> Result<Self, Vec<(Arc<str>, Failure)>> {
        let mut opened = Self::default();
        let mut faults = Vec::new();
        let missing: Vec<_> =
            wanted(snapshot).filter(|(text, _)| !self.0.contains_key(*text)).collect();
        // Each is claimed before any is opened: of two that overlap (`*:80`, `127.0.0.1:80`) the
        // second could not be claimed any more.
        for (text, options) in &missing {
            if let Err(failure) = address(text).and_then(|it| self.claim(&it, options)) {
                faults.push((Arc::clone(text), failure));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        for (text, options) in missing {
            let open = address(text).and_then(|it| Open::new(it, options, workers));
            match open {
                Ok(open) => drop(opened.0.insert(Arc::clone(text), open)),
                Err(failure) => faults.push((Arc::clone(text), failure)),
            }
        }
        if faults.is_empty() { Ok(opened) } else { Err(faults) }
    }

    /// Another server's socket is a fault; one of ours at the same port is not.
    fn claim(&self, address: &Address, options: &Options) -> Result<(), Failure> {
        let overlaps = |open: &Open| match (&open.address, address) {
            (Address::Tcp(ours), Address::Tcp(new)) => ours.port() == new.port(),
            _ => false,
        };
        if self.0.values().any(overlaps) { Ok(()) } else { socket::claim(address, options) }
    }

    /// Adds what [`Self::open_new`] opened.
    pub fn add(&mut self, opened: Self) {
        self.0.extend(opened.0);
    }

    /// Lets go of the sockets that `snapshot` does not want; gives their addresses.
    pub fn remove_unwanted(&mut self, snapshot: &Snapshot) -> Vec<Arc<str>> {
        let unwanted: Vec<_> =
            self.0.keys().filter(|it| snapshot.listener(it).is_none()).cloned().collect();
        self.0.retain(|text, _| !unwanted.contains(text));
        unwanted
    }

    /// The addresses whose options `snapshot` has otherwise: they count when it starts anew.
    pub fn changed(&self, snapshot: &Snapshot) -> Vec<Arc<str>> {
        wanted(snapshot)
            .filter(|(text, options)| self.0.get(*text).is_some_and(|it| it.options != *options))
            .map(|(text, _)| Arc::clone(text))
            .collect()
    }

    /// Opens one socket more of each address until there are as many as `workers`.
    ///
    /// # Errors
    /// The address, and why it has no more.
    pub fn grow(&mut self, workers: usize) -> Result<(), (Arc<str>, Failure)> {
        for (text, open) in &mut self.0 {
            while open.sockets.len() < workers {
                open.add().map_err(|failure| (Arc::clone(text), failure))?;
            }
        }
        Ok(())
    }

    /// All addresses with their sockets.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Vec<Socket>)> {
        self.0.iter_mut().map(|(text, open)| (text, &mut open.sockets))
    }

    /// Worker `id` is gone: nobody accepts from its sockets now.
    pub fn orphan(&mut self, id: usize) {
        let sockets = self.0.values_mut().flat_map(|it| &mut it.sockets);
        for socket in sockets.filter(|it| it.worker == Some(id)) {
            socket.worker = None;
        }
    }

    /// The addresses as configured.
    pub fn addresses(&self) -> Vec<String> {
        self.0.keys().map(ToString::to_string).collect()
    }

    /// Lets go of all sockets: a queue ends with the worker that accepts from it.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Open {
    fn new(address: Address, options: Options, workers: usize) -> Result<Self, Failure> {
        let mut open = Self { address, options, sockets: Vec::new() };
        for _ in 0..workers.max(1) {
            open.add()?;
        }
        Ok(open)
    }

    fn add(&mut self) -> Result<(), Failure> {
        let listener = match (&self.address, self.sockets.first()) {
            (Address::Unix(_), Some(first)) => first
                .listener
                .try_clone()
                .map_err(|error| Failure::new(format!("dup() of {}", self.address), error))?,
            _ => socket::listen(&self.address, &self.options)?,
        };
        self.sockets.push(Socket { listener, worker: None });
        Ok(())
    }
}

impl Drop for Open {
    /// A unix socket leaves no file behind, be it one that a refused configuration opened.
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            // Removed by somebody else, it is gone as well.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: usize, from: Option<usize>, to: usize) -> Move {
        Move { number, from, to }
    }

    #[test]
    fn a_unix_socket_leaves_no_file_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let open = Open::new(Address::Unix(path.clone()), Options::default(), 2).unwrap();
        assert!(path.exists());
        drop(open);
        assert!(!path.exists());
    }

    #[test]
    fn each_worker_has_its_socket() {
        assert_eq!(moves(&[None, None], 2), [of(0, None, 0), of(1, None, 1)]);
        assert_eq!(moves(&[Some(0), Some(1)], 2), []);
    }

    #[test]
    fn those_that_stay_accept_for_those_that_go() {
        let owners = [Some(0), Some(1), Some(2), Some(3), Some(4)];
        let expected = [of(2, Some(2), 0), of(3, Some(3), 1), of(4, Some(4), 0)];
        assert_eq!(moves(&owners, 2), expected);
    }

    #[test]
    fn new_workers_take_their_sockets_back() {
        let owners = [Some(0), Some(1), Some(0), None];
        assert_eq!(moves(&owners, 4), [of(2, Some(0), 2), of(3, None, 3)]);
    }
}
