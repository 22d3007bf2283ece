//! One listener of a worker: its accept loops, and the connections that came through it.

use super::core::Core;
use super::handshakes::Handshakes;
use super::http2::Limits;
use super::serve::serve;
use super::socket::Queue;
use crate::clock;
use crate::downstream::{HeadWait, Wanted};
use crate::log::{Level, main_log};
use crate::metrics;
use crate::metrics::sharded::Held;
use crate::proxy::{Gateway, Http1, LastGeneration};
use crate::request::Connection;
use crate::request::connection::Address;
use crate::snapshot::Snapshot;
use crate::sys::errno::Errno;
use crate::sys::raw_stream::RawStream;
use crate::sys::socket as listening;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;

/// How long no client is accepted after the process ran out of descriptors; nginx's
/// `accept_mutex_delay`.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(500);

/// Numbers connections over all workers: `*7` in logs, `$connection`.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// A listener of one worker.
pub(super) struct WorkerListener {
    core: Rc<Core>,
    address: Arc<str>,
    http1: Http1,
    http2: Arc<HttpProxy<Gateway>>,
    /// What requests are served by once it is closed.
    last: LastGeneration,
    settings: RefCell<Rc<Settings>>,
    /// True once its connections are to close after their response.
    closing: watch::Sender<bool>,
    /// How to end its accept loops, by the socket's number.
    loops: RefCell<HashMap<usize, oneshot::Sender<Ending>>>,
    running_loops: Cell<usize>,
    connections: RefCell<HashMap<u64, Rc<HeadWait>>>,
}

/// What connections need to know of the configuration before there is a request.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// `client_header_timeout` of the default server.
    header_timeout_ms: u64,
    /// `so_keepalive=on`.
    keepalive: bool,
    /// TLS, HTTP/2.
    pub wanted: Wanted,
    /// HTTP/2's limits.
    pub http2: Limits,
}

/// How an accept loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Others accept from the same socket on.
    LeaveQueue,
    /// Nobody does: who has connected is served.
    EmptyQueue,
}

impl WorkerListener {
    /// A listener for `address`, as yet without a socket.
    pub fn new(core: &Rc<Core>, address: Arc<str>) -> Rc<Self> {
        let conf = Arc::new(ServerConf { threads: 1, ..ServerConf::default() });
        let last = LastGeneration::default();
        let gateway = Gateway::new(Rc::clone(core.state()), Rc::clone(&last));
        let listener = Rc::new(Self {
            core: Rc::clone(core),
            address,
            http1: Http1::new(Rc::clone(core.state()), Rc::clone(&last)),
            http2: Arc::new(http_proxy(&conf, gateway)),
            last,
            settings: RefCell::default(),
            closing: watch::Sender::new(false),
            loops: RefCell::default(),
            running_loops: Cell::new(0),
            connections: RefCell::default(),
        });
        listener.follow(&core.state().current().snapshot);
        listener
    }

    /// Takes its settings from `snapshot`; connections keep those that they began with.
    pub fn follow(&self, snapshot: &Snapshot) {
        let Some(listener) = snapshot.listener(&self.address) else { return };
        let server = snapshot.server(listener.names.default);
        let settings = Settings {
            header_timeout_ms: server.conf.client_header_timeout_ms,
            keepalive: listener.listen.so_keepalive == Some(true),
            wanted: Wanted {
                tls: listener.tls.clone(),
                http2: listener.http2,
                scripts: Some(Handshakes::of(self.core.state())),
            },
            http2: Limits {
                streams: server.http2_streams,
                requests: server.conf.keepalive_requests,
                idle_ms: server.conf.keepalive_timeout_ms,
            },
        };
        self.settings.replace(Rc::new(settings));
    }

    /// Accepts from one more socket, `number` among those of the address.
    ///
    /// # Errors
    /// When the event loop does not take it.
    pub fn open(self: &Rc<Self>, number: usize, socket: listening::Listener) -> io::Result<()> {
        let queue = Queue::new(socket)?;
        let (sender, ending) = oneshot::channel();
        self.loops.borrow_mut().insert(number, sender);
        self.running_loops.set(self.running_loops.get() + 1);
        let listener = Rc::clone(self);
        spawn_local(async move {
            listener.accept_loop(queue, ending).await;
            listener.running_loops.set(listener.running_loops.get() - 1);
            listener.core.notice_end();
        });
        Ok(())
    }

    /// Accepts no more from socket `number`, from which another worker does.
    pub fn leave(&self, number: usize) {
        self.end_loop(number, Ending::LeaveQueue);
    }

    /// Accepts who has connected already, and then nobody; connections close after the response
    /// that they are at, idle ones soon. All are served by the generation of now.
    pub fn close(&self) {
        // Closed before, it keeps the generation of then.
        let _ = self.last.set(self.core.state().current());
        let numbers: Vec<_> = self.loops.borrow().keys().copied().collect();
        for number in numbers {
            self.end_loop(number, Ending::EmptyQueue);
        }
        self.closing.send_replace(true);
        for wait in self.connections.borrow().values() {
            wait.drain();
        }
    }

    fn end_loop(&self, number: usize, ending: Ending) {
        if let Some(sender) = self.loops.borrow_mut().remove(&number) {
            // A loop that has ended by itself has nothing left to accept.
            let _ = sender.send(ending);
        }
    }

    /// Whether it accepts nobody and serves nobody any more.
    pub fn is_done(&self) -> bool {
        self.running_loops.get() == 0 && self.connections.borrow().is_empty()
    }

    /// What its connections begin with.
    pub fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }

    /// What serves its requests of HTTP/1.
    pub fn http1(&self) -> &Http1 {
        &self.http1
    }

    /// What serves those of HTTP/2.
    pub fn http2(&self) -> &Arc<HttpProxy<Gateway>> {
        &self.http2
    }

    /// True once its connections are to close after their response.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// One of its connections has become idle.
    pub fn notice_idle(&self) {
        self.core.notice_idle();
    }

    async fn accept_loop(self: &Rc<Self>, queue: Queue, mut ending: oneshot::Receiver<Ending>) {
        let ending = loop {
            tokio::select! {
                biased;
                ending = &mut ending => break ending.unwrap_or(Ending::LeaveQueue),
                accepted = self.next(&queue) => match accepted {
                    Ok(client) => self.admit(client),
                    Err(error) => self.complain(&error),
                },
            }
        };
        if ending == Ending::EmptyQueue {
            match queue.close() {
                Ok(waiting) => waiting.into_iter().for_each(|client| self.admit(client)),
                Err(error) => self.complain(&error),
            }
        }
    }

    /// The next client, as soon as the worker has room for one.
    async fn next(&self, queue: &Queue) -> io::Result<RawStream> {
        self.core.room().await;
        queue.accept().await
    }

    /// One that went away before it was accepted is its own affair; without descriptors the
    /// listener rests.
    fn complain(&self, error: &io::Error) {
        let exhausted = matches!(
            error.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
        );
        let level = if exhausted { Level::Crit } else { Level::Error };
        if !exhausted || self.core.may_complain() {
            let address = &self.address;
            main_log().say(level, format_args!("accept4() on {address} failed {}", Errno(error)));
        }
        if exhausted {
            self.core.rest(OUT_OF_FILES_PAUSE);
        }
    }

    /// Serves a client that was accepted.
    fn admit(self: &Rc<Self>, client: RawStream) {
        metrics::catalog().connections_accepted.inc();
        let settings = self.settings();
        // A client that is gone already has no ends and takes no options.
        let Ok(ends) = client.ends() else { return };
        if client.set_options(settings.keepalive).is_err() {
            return;
        }
        let (there, here) = match ends {
            Some((there, here)) => (Address::Inet(there), Address::Inet(here)),
            None => (Address::Unix, Address::Unix),
        };
        let connection = Rc::new(Connection {
            serial: CONNECTIONS.fetch_add(1, Relaxed),
            client: there,
            server: here,
            listener: Arc::clone(&self.address),
            accepted: clock::monotonic(),
            requests: Cell::new(0),
            closing: Cell::new(false),
            send_timeout_ms: Cell::new(0),
            worker: self.core.state().id,
            tls: OnceCell::new(),
            misses_tls: Cell::new(false),
        });
        let wait = Rc::new(HeadWait::new(connection, settings.header_timeout_ms));
        if *self.closing.borrow() {
            wait.drain();
        }
        let open = Open::new(self, &wait, client.as_raw_fd());
        spawn_local(serve(client, wait, open));
    }
}

/// A connection that counts while it is open.
pub(super) struct Open {
    listener: Rc<WorkerListener>,
    serial: u64,
    _active: Held,
}

impl Open {
    /// The listener that it came through.
    pub fn listener(&self) -> &Rc<WorkerListener> {
        &self.listener
    }

    fn new(listener: &Rc<WorkerListener>, wait: &Rc<HeadWait>, socket: RawFd) -> Self {
        let serial = wait.connection.serial;
        listener.connections.borrow_mut().insert(serial, Rc::clone(wait));
        listener.core.enter(wait, socket);
        let active = metrics::catalog().connections_active.hold();
        Self { listener: Rc::clone(listener), serial, _active: active }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.connections.borrow_mut().remove(&self.serial);
        self.listener.core.exit(self.serial);
    }
}
