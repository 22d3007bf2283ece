//! The upward door: what only the proxy can do, asked for by the API.

use crate::lua::vm::Vm;
use crate::request::Request;
use crate::snapshot::Snapshot;
use std::rc::Rc;
use std::sync::Arc;

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

    /// The configuration, for timers that no request has started.
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        None
    }
}
