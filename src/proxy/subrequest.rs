//! Subrequests of `ngx.location.capture`: the phases run as for a client's request, and what they
//! answer is kept.

use super::access_log;
use super::error::Result;
use super::host;
use super::phases::{Flow, Serving};
use super::session::Client;
use super::worker::{Generation, WorkerState};
use crate::lua::host::Captured;
use crate::request::Request;
use crate::request::response::Ranges;
use std::rc::Rc;

/// Serves `request` to the end of its response.
pub(super) async fn serve(
    worker: Rc<WorkerState>,
    generation: Rc<Generation>,
    request: Rc<Request>,
) -> Captured {
    let client = Client::capturing(&request);
    serve_for(client, worker, generation, request).await
}

/// Serves `request`, whose head alone is wanted, to the end of its response.
pub(super) async fn serve_head(
    worker: Rc<WorkerState>,
    generation: Rc<Generation>,
    request: Rc<Request>,
) -> Captured {
    let client = Client::of_head(&request);
    serve_for(client, worker, generation, request).await
}

async fn serve_for(
    client: Client<'_>,
    worker: Rc<WorkerState>,
    generation: Rc<Generation>,
    request: Rc<Request>,
) -> Captured {
    let mut serving =
        Serving { client, worker, generation: generation.clone(), request: request.clone() };
    let ended = serving.run(Flow::Continue).await;
    if request.response.borrow().status == 0 {
        request.response.borrow_mut().status = 500;
    }
    if request.conf().log_subrequest {
        access_log::write(&generation.vm, &request);
    }
    let (body, is_whole) = serving.client.into_kept();
    let failed = request.filter_status.get();
    if failed != 0 {
        request.response.borrow_mut().status = failed;
        return Captured { body: Vec::new(), truncated: true };
    }
    Captured { body, truncated: ended.is_err() || !is_whole }
}

/// Ends a subrequest with a status: it gets neither an error page nor nginx's own, only a head.
pub(super) fn end_with(serving: &Serving<'_>, code: u16) -> Result<Flow> {
    let request = &serving.request;
    {
        let mut response = request.response.borrow_mut();
        response.status = code;
        response.reason = None;
        response.last_modified = None;
        response.content_type = None;
        response.content_length = None;
        response.headers.remove(b"accept-ranges");
        response.ranges = Ranges::Never;
    }
    host::default_type(request);
    // As in nginx the header filters see it; there is no body whose end could come.
    let _ = serving.send_head();
    Ok(Flow::Close)
}
