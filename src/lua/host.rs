//! The upward door: what only the proxy can do, asked for by the API.

use crate::lua::vm::Vm;
use crate::request::Request;
use crate::snapshot::Snapshot;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

/// What a subrequest was answered with; its head is in its [`Request::response`].
#[derive(Debug, Default)]
pub struct Captured {
    /// The body.
    pub body: Vec<u8>,
    /// The end of the body is missing.
    pub truncated: bool,
}

/// A subrequest under way. Dropping it gives it up.
pub type Capturing = Pin<Box<dyn Future<Output = Captured>>>;

/// Implemented by the proxy. All calls are synchronous; they may run Lua of the same VM again
/// (header and body filters) through `Vm::call_sync`.
pub trait Host {
    /// Sends the response's head, header filters first; nothing when it is sent already.
    ///
    /// # Errors
    /// What Lua gets as `nil, text`.
    fn send_headers(&self, vm: &Vm, request: &Rc<Request>) -> Result<(), String>;

    /// Buffers `chunk` of the body, the head first if need be; `last` ends the response.
    ///
    /// # Errors
    /// What Lua gets as `nil, text`.
    fn send_body(
        &self,
        vm: &Vm,
        request: &Rc<Request>,
        chunk: &[u8],
        last: bool,
    ) -> Result<(), String>;

    /// Serves `request`, which another request has made, and keeps what it is answered with.
    /// Nothing runs before the first poll.
    ///
    /// # Errors
    /// What is raised in Lua: there is nobody to serve it.
    fn capture(&self, vm: &Vm, request: &Rc<Request>) -> Result<Capturing, String> {
        let _ = (vm, request);
        Err("no subrequests here".into())
    }

    /// The configuration, for timers that no request has started.
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        None
    }
}
