//! The connections of one worker to its peers by HTTP/2.

use super::link::{Held, Link};
use crate::clock;
use crate::proxy::exchange::{Failed, Secured, Timeouts, Transport};
use crate::upstream::{Group, Keepalive, Peer, PeerAddr};
use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often connections that nobody uses are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Which connections may stand for one another.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    group: u64,
    peer: PeerAddr,
    /// The number of the settings that TLS is spoken by, and the name.
    secured: Option<(u64, Box<str>)>,
}

/// The connection that a request wants.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Wanted<'a> {
    pub group: &'a Group,
    pub peer: &'a Arc<Peer>,
    pub secured: Option<&'a Secured>,
    pub timeouts: Timeouts,
    /// Whence a new one is made; one that there is is taken whence ever it was.
    pub local: Option<SocketAddr>,
}

impl Wanted<'_> {
    fn key(&self) -> Key {
        Key {
            group: self.group.id(),
            peer: self.peer.address.clone(),
            secured: self.secured.map(|it| (it.client.number, it.name.clone())),
        }
    }
}

/// A connection that is being made, and how that ended.
#[derive(Debug, Default)]
struct Opening {
    ended: OnceCell<Result<(), Failed>>,
    notify: Notify,
}

/// Connections of one kind.
#[derive(Debug)]
struct Bundle {
    key: Key,
    keep: Keepalive,
    links: Vec<Rc<Link>>,
    /// Those that come meanwhile share it.
    opening: Weak<Opening>,
}

/// All connections of one worker.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Links {
    bundles: RefCell<Vec<Bundle>>,
    sweeping: Cell<bool>,
}

impl Links {
    /// A connection that has room for another request.
    pub fn take(&self, wanted: &Wanted<'_>) -> Option<Held> {
        let key = wanted.key();
        let bundles = self.bundles.borrow();
        let bundle = bundles.iter().find(|it| it.key == key)?;
        let link = bundle.links.iter().find(|it| it.takes_more())?;
        Some(link.hold(&wanted.group.keepalive))
    }

    /// A connection that has room for another request; a new one, if need be. Requests that come
    /// while one is being made wait for it.
    ///
    /// # Errors
    /// The peer cannot be reached.
    pub async fn open(self: &Rc<Self>, wanted: Wanted<'_>) -> Result<Held, Failed> {
        loop {
            if let Some(held) = self.take(&wanted) {
                return Ok(held);
            }
            let opening = self.find(&wanted.key()).and_then(|it| it.upgrade());
            let Some(opening) = opening else { return self.make(wanted).await };
            let notified = opening.notify.notified();
            if opening.ended.get().is_none() {
                notified.await;
            }
            if let Some(Err(failed)) = opening.ended.get() {
                return Err(failed.clone());
            }
            // It was given up, or others were faster: look again.
        }
    }

    fn find(&self, key: &Key) -> Option<Weak<Opening>> {
        self.bundles.borrow().iter().find(|it| it.key == *key).map(|it| it.opening.clone())
    }

    /// Makes a connection, in the name of all that want one like it.
    async fn make(self: &Rc<Self>, wanted: Wanted<'_>) -> Result<Held, Failed> {
        let opening = Announced(Rc::default());
        self.announce(&wanted, &opening.0);
        let made = connect(&wanted).await;
        let (held, ended) = match made {
            Ok(link) => {
                let held = link.hold(&wanted.group.keepalive);
                let mut bundles = self.bundles.borrow_mut();
                let key = wanted.key();
                if let Some(bundle) = bundles.iter_mut().find(|it| it.key == key) {
                    bundle.links.push(link);
                    bundle.opening = Weak::new();
                }
                (Ok(held), Ok(()))
            }
            Err(failed) => (Err(failed.clone()), Err(failed)),
        };
        let _ = opening.0.ended.set(ended);
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
        held
    }

    fn announce(&self, wanted: &Wanted<'_>, opening: &Rc<Opening>) {
        let key = wanted.key();
        let opening = Rc::downgrade(opening);
        let mut bundles = self.bundles.borrow_mut();
        match bundles.iter_mut().find(|it| it.key == key) {
            Some(bundle) => bundle.opening = opening,
            None => {
                let keep = wanted.group.keepalive;
                bundles.push(Bundle { key, keep, links: Vec::new(), opening });
            }
        }
    }

    /// Lets go of connections that have ended, that take no more, and of idle ones that are too
    /// many or too old. Those in use live on with their requests.
    fn drop_dead(&self) {
        let now = clock::monotonic();
        self.bundles.borrow_mut().retain_mut(|bundle| {
            let keep = bundle.keep;
            let mut idle = 0;
            bundle.links.retain(|it| {
                if !it.is_alive() {
                    return false;
                }
                idle += usize::from(it.is_idle());
                !it.is_idle()
                    || (idle <= keep.connections
                        && now.ms_since(it.idle_since.get()) < keep.timeout_ms)
            });
            !bundle.links.is_empty() || bundle.opening.strong_count() > 0
        });
    }
}

/// An opening that others wait for: they are woken when it ends, however that is.
struct Announced(Rc<Opening>);

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.notify.notify_waiters();
    }
}

async fn connect(wanted: &Wanted<'_>) -> Result<Rc<Link>, Failed> {
    let Wanted { peer, secured, timeouts, local, .. } = *wanted;
    let transport = Transport::connect(peer, timeouts, secured, local).await;
    let transport = transport.map_err(|it| it.failed(peer))?;
    Link::open(transport).await.map_err(|error| super::fault::lost(&error, false))
}

/// Closes what nobody needs, as long as there is something to look at.
async fn sweep(links: Weak<Links>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(links) = links.upgrade() else { return };
        clock::update();
        links.drop_dead();
        if links.bundles.borrow().is_empty() {
            links.sweeping.set(false);
            return;
        }
    }
}
