//! The door through which running Lua reaches the response: heads and bodies that it says.

use super::filters;
use super::subrequest;
use super::worker::{Generation, WorkerState};
use crate::lua::host::Capturing;
use crate::lua::host::Host;
use crate::lua::vm::Vm;
use crate::request::{Request, Version};
use crate::snapshot::Snapshot;
use bytes::Bytes;
use std::cell::OnceCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// The proxy's side of [`Host`].
pub struct ProxyHost {
    snapshot: Arc<Snapshot>,
    /// Who serves its requests, once it serves some. They own the VM, which owns this.
    owners: OnceCell<(Weak<WorkerState>, Weak<Generation>)>,
}

impl ProxyHost {
    /// The door of a VM that serves `snapshot`.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, owners: OnceCell::new() }
    }

    /// Names the worker and the generation that subrequests are served by; the first stay.
    pub(super) fn belongs_to(&self, worker: &Rc<WorkerState>, generation: &Rc<Generation>) {
        let _ = self.owners.set((Rc::downgrade(worker), Rc::downgrade(generation)));
    }
}

impl Host for ProxyHost {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        Some(Arc::clone(&self.snapshot))
    }

    fn send_headers(&self, vm: &Vm, request: &Rc<Request>) -> Result<(), String> {
        if holds_back(request) {
            return Ok(());
        }
        send_headers(vm, request)
    }

    fn send_body(
        &self,
        vm: &Vm,
        request: &Rc<Request>,
        chunk: &[u8],
        last: bool,
    ) -> Result<(), String> {
        send_body(vm, request, Bytes::copy_from_slice(chunk), last)
    }

    fn capture(&self, _: &Vm, request: &Rc<Request>) -> Result<Capturing, String> {
        let owners = self
            .owners
            .get()
            .and_then(|(worker, generation)| Some((worker.upgrade()?, generation.upgrade()?)));
        let (worker, generation) = owners.ok_or("no worker serves this VM")?;
        Ok(Box::pin(subrequest::serve(worker, generation, Rc::clone(request))))
    }
}

/// Completes the head of a handler's response; nothing when that was done.
pub(super) fn send_headers(vm: &Vm, request: &Rc<Request>) -> Result<(), String> {
    if request.headers_sent.get() {
        return Ok(());
    }
    default_type(request);
    filters::head(vm, request)
}

/// Adds a chunk of a handler's response, the head first; `last` ends it.
pub(super) fn send_body(
    vm: &Vm,
    request: &Rc<Request>,
    chunk: Bytes,
    last: bool,
) -> Result<(), String> {
    if request.finished.get() {
        return Ok(());
    }
    if holds_back(request) {
        let mut output = request.output.borrow_mut();
        output.push(chunk);
        if !last {
            return Ok(());
        }
        let length = output.pending_bytes as u64;
        let chunks = std::mem::take(&mut output.chunks);
        drop(output);
        request.response.borrow_mut().content_length = Some(length);
        send_headers(vm, request)?;
        let whole = chunks.concat();
        return filters::body(vm, request, whole.into(), true);
    }
    send_headers(vm, request)?;
    filters::body(vm, request, chunk, last)
}

/// `lua_http10_buffering`: an HTTP/1.0 response is kept until its length is known.
fn holds_back(request: &Request) -> bool {
    request.version < Version::Http11
        && request.conf().lua.http10_buffering
        && !request.headers_sent.get()
        && request.response.borrow().content_length.is_none()
}

/// `lua_use_default_type`: the type by the URI's extension, else `default_type`; a 304 has none.
pub(super) fn default_type(request: &Request) {
    let conf = request.conf();
    let lacks_type = {
        let response = request.response.borrow();
        response.content_type.is_none() && response.status != 304
    };
    if conf.lua.use_default_type && lacks_type {
        let kind = super::files::content_type(request);
        request.response.borrow_mut().content_type = Some(kind);
    }
}
