//! A request within a request: what `ngx.location.capture` asks another location of the server.

use super::body::BodyFile;
use super::{Body, Parts, Request};
use crate::clock;
use crate::http::headers::Headers;
use bytes::Bytes;
use std::rc::Rc;

/// How deep requests may stand within each other, as in nginx (`NGX_HTTP_MAX_SUBREQUESTS`).
pub const MOST_DEPTH: usize = 51;

/// What a subrequest differs in from the request that makes it.
#[derive(Debug)]
pub struct Asked {
    /// The method's name.
    pub method: Bytes,
    /// The path, decoded.
    pub uri: Bytes,
    /// The arguments.
    pub args: Option<Bytes>,
    /// The header fields.
    pub headers: Headers,
    /// The body; never [`Body::Unread`], as only the client's own request may read from it.
    pub body: Body,
    /// What `Content-Length` says.
    pub content_length: Option<u64>,
    /// Variables by slot.
    pub slots: Vec<Option<Bytes>>,
}

impl Request {
    /// Whether another request has made it.
    pub fn is_subrequest(&self) -> bool {
        self.parent.get().is_some()
    }

    /// Whether what answers it is kept for a script, which wants no error pages.
    pub fn is_captured(&self) -> bool {
        self.is_subrequest() && !self.is_inlined.get()
    }

    /// How many requests it stands within; 0 for a client's own.
    pub fn depth(&self) -> usize {
        std::iter::successors(self.parent.get(), |it| it.parent.get()).count()
    }

    /// The client's request that it serves in the end; itself, mostly.
    pub fn main(&self) -> &Self {
        std::iter::successors(Some(self), |it| it.parent.get().map(|it| &**it))
            .last()
            .unwrap_or(self)
    }

    /// The body once more, for a subrequest. One that nobody has read yet stays with the client.
    pub fn body_again(&self) -> Body {
        match &*self.body.borrow() {
            Body::Memory(bytes) => Body::Memory(bytes.clone()),
            // The parent outlives what it asks for, and with it its file.
            Body::File(file) => {
                let path = file.path.clone();
                Body::File(BodyFile { path, length: file.length, temporary: false })
            }
            Body::Unread | Body::Discarded => Body::Memory(Bytes::new()),
        }
    }

    /// A request within this one, to the same server. It shares the client's connection and its
    /// request line, as nginx's do, and begins at the server's phases as an internal one.
    pub fn subrequest(self: &Rc<Self>, asked: Asked) -> Rc<Self> {
        let made = Self::new(Parts {
            snapshot: self.snapshot.clone(),
            connection: Rc::clone(&self.connection),
            started: clock::monotonic(),
            version: self.version,
            method: asked.method,
            line: self.line.clone(),
            target: self.target.clone(),
            uri: asked.uri,
            args: asked.args,
            host: self.host.borrow().clone(),
            headers: asked.headers,
            head_length: 0,
            server: self.server.get(),
            is_fake: false,
        });
        made.body.replace(asked.body);
        made.content_length.set(asked.content_length);
        made.slots.replace(asked.slots);
        made.uri_unchanged.set(false);
        made.internal.set(true);
        // A request that was just made has no parent yet.
        let _ = made.parent.set(Rc::clone(self));
        made
    }
}
