//! The hooks that pingora calls; `request_filter` is where everything happens.

use super::access_log;
use super::admission;
use super::body::Reader;
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
use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The gateway behind one listener of one worker.
pub struct Gateway {
    worker: SendWrapper<Rc<WorkerState>>,
    listener: Arc<str>,
}

/// What one request carries from hook to hook.
pub struct Context {
    connection: Option<SendWrapper<Rc<Connection>>>,
    request: Option<SendWrapper<(Rc<Request>, Rc<Generation>)>>,
}

static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

impl Gateway {
    /// A gateway for connections that `worker` accepts on `listener` (the address as configured).
    pub fn new(worker: Rc<WorkerState>, listener: Arc<str>) -> Self {
        Self { worker: SendWrapper::new(worker), listener }
    }

    /// All phases of a request, as a future that is polled where it was made: on this worker.
    fn serve<'a>(
        &self,
        session: &'a mut Session,
        context: &mut Context,
    ) -> SendWrapper<impl Future<Output = Result<()>> + use<'a>> {
        clock::update();
        let connection = self.connection(session, context);
        let generation = self.worker.current();
        let worker = Rc::clone(&self.worker);
        let admitted = admission::admit(session, &generation.snapshot, connection);
        context.request = Some(SendWrapper::new((admitted.request.clone(), generation.clone())));
        let client = Client::new(session, Reader::default());
        SendWrapper::new(phases::serve(client, worker, generation, admitted))
    }

    /// The connection of this request: the one of the request before it, or a new one.
    fn connection(&self, session: &Session, context: &mut Context) -> Rc<Connection> {
        let known = context.connection.take().map(SendWrapper::take);
        let connection = known.unwrap_or_else(|| {
            Rc::new(Connection {
                serial: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
                client: admission::address(session.client_addr()),
                server: admission::address(session.server_addr()),
                listener: self.listener.clone(),
                accepted: clock::monotonic(),
                requests: std::cell::Cell::new(0),
                worker: self.worker.id,
                is_tls: false,
            })
        });
        connection.requests.set(connection.requests.get() + 1);
        context.connection = Some(SendWrapper::new(connection.clone()));
        connection
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context { connection: None, request: None }
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        context: &mut Context,
        carried: Box<dyn Any + Send + Sync>,
    ) {
        if let Ok(connection) = carried.downcast::<SendWrapper<Rc<Connection>>>() {
            context.connection = Some(*connection);
        }
    }

    fn persist_connection_context(
        &self,
        _session: &Session,
        context: &Context,
    ) -> Option<Box<dyn Any + Send + Sync>> {
        let connection = context.connection.as_ref()?;
        Some(Box::new(SendWrapper::new(Rc::clone(connection))))
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        self.serve(session, context).await?;
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
        session: &mut Session,
        _error: Option<&pingora::Error>,
        context: &mut Context,
    ) {
        if let Some(request) = context.request.take() {
            let sent = session.body_bytes_sent();
            let (request, generation) = request.take();
            access_log::finish(&self.worker, &generation.vm, &request, sent as u64);
        }
    }
}
