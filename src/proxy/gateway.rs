//! The hooks that pingora calls; `request_filter` is where everything happens.

use super::access_log;
use super::admission;
use super::error;
use super::phases;
use super::session::Client;
use super::worker::{Generation, WorkerState};
use crate::clock;
use crate::request::Connection;
use crate::request::Request;
use async_trait::async_trait;
use pingora::Result;
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use send_wrapper::SendWrapper;
use std::cell::OnceCell;
use std::rc::Rc;

/// The gateway behind one listener of one worker.
pub struct Gateway {
    worker: SendWrapper<Rc<WorkerState>>,
    last: SendWrapper<LastGeneration>,
}

/// Set when a listener closes: the generation that had it, which the last requests on its
/// connections are served by. Later ones know nothing of it.
pub type LastGeneration = Rc<OnceCell<Rc<Generation>>>;

/// What one request carries from hook to hook.
pub struct Context {
    request: Option<SendWrapper<(Rc<Request>, Rc<Generation>)>>,
}

impl Gateway {
    /// A gateway for connections that `worker` accepts on one listener, until that has a `last`
    /// generation.
    pub fn new(worker: Rc<WorkerState>, last: LastGeneration) -> Self {
        Self { worker: SendWrapper::new(worker), last: SendWrapper::new(last) }
    }

    /// All phases of a request, as a future that is polled where it was made: on this worker.
    /// `None` on a stream that no accept loop has made.
    fn serve<'a>(
        &self,
        session: &'a mut Session,
        context: &mut Context,
    ) -> Option<SendWrapper<impl Future<Output = error::Result<()>> + use<'a>>> {
        clock::update();
        let connection = Connection::of(session.digest()?)?;
        connection.requests.set(connection.requests.get() + 1);
        let generation = self.last.get().cloned().unwrap_or_else(|| self.worker.current());
        let worker = Rc::clone(&self.worker);
        let admitted = admission::admit(session, &generation.snapshot, connection);
        context.request = Some(SendWrapper::new((admitted.request.clone(), generation.clone())));
        let client = Client::pingora(session, &admitted.request);
        Some(SendWrapper::new(phases::serve(client, worker, generation, admitted)))
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context { request: None }
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        let Some(served) = self.serve(session, context) else {
            let message = "the stream carries no connection";
            return pingora::Error::e_explain(pingora::ErrorType::InternalError, message);
        };
        served.await?;
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _context: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        pingora::Error::e_explain(
            pingora::ErrorType::InternalError,
            "requests are answered in request_filter",
        )
    }

    async fn fail_to_proxy(
        &self,
        _session: &mut Session,
        _error: &pingora::Error,
        _context: &mut Context,
    ) -> FailToProxy {
        // The client went away, or its connection must be cut: nothing can be said to it.
        FailToProxy { error_code: 0, can_reuse_downstream: false }
    }

    fn suppress_error_log(
        &self,
        _session: &Session,
        _context: &Context,
        _error: &pingora::Error,
    ) -> bool {
        true
    }

    async fn logging(
        &self,
        _session: &mut Session,
        _error: Option<&pingora::Error>,
        context: &mut Context,
    ) {
        if let Some(request) = context.request.take() {
            let (request, generation) = request.take();
            access_log::finish(&self.worker, &generation.vm, &request);
        }
    }
}
