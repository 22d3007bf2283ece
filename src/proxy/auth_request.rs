//! `auth_request`: a location decides by its status who may come in
//! (`ngx_http_auth_request_module`).

use super::access::Verdict;
use super::phases::{Flow, Serving};
use super::subrequest;
use crate::log::Level;
use crate::lua::host::Captured;
use crate::request::subrequest::Asked as Parts;
use crate::request::{Body, Request};
use crate::snapshot::access::Asked;
use bytes::Bytes;
use std::pin::Pin;
use std::rc::Rc;

/// Two requests with the variables of one: while the second runs it has them, as in nginx.
struct Lent<'a>(&'a Request, &'a Request);

impl<'a> Lent<'a> {
    fn to(request: &'a Request, made: &'a Request) -> Self {
        request.slots.swap(&made.slots);
        Self(request, made)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.slots.swap(&self.1.slots);
    }
}

/// Asks, sets what `auth_request_set` says, and reads the status.
pub(super) async fn ask(serving: &Serving<'_>, asked: &Asked) -> Verdict {
    let request = &serving.request;
    let made = make(request, &asked.uri);
    let captured = {
        let _lent = Lent::to(request, &made);
        let (worker, generation) = (serving.worker.clone(), serving.generation.clone());
        // The same phases as those that ask: its type must not hold itself.
        let served: Pin<Box<dyn Future<Output = Captured>>> =
            Box::pin(subrequest::serve_head(worker, generation, made.clone()));
        served.await
    };
    let status = made.response.borrow().status;
    if captured.truncated && matches!(status, 408 | 444 | 499) {
        return Verdict::Other(Flow::Close);
    }
    set_variables(request, &made, asked);
    match status {
        401 => {
            pass_challenge(request, &made);
            Verdict::Other(Flow::Status(401))
        }
        403 => Verdict::Other(Flow::Status(403)),
        200..=299 => Verdict::Pass,
        _ => {
            request.log(Level::Error, format_args!("auth request unexpected status: {status}"));
            Verdict::Other(Flow::Status(500))
        }
    }
}

/// GET with the client's fields, and no body: that stays where it is.
fn make(request: &Rc<Request>, uri: &Bytes) -> Rc<Request> {
    let made = request.subrequest(Parts {
        method: Bytes::from_static(b"GET"),
        uri: uri.clone(),
        args: None,
        headers: request.headers.borrow().clone(),
        body: Body::Memory(Bytes::new()),
        content_length: request.content_length.get(),
        slots: Vec::new(),
    });
    // A variable of nginx's that is computed once, and thus shared.
    made.request_id.replace(Some(request.request_id()));
    // An error page of its location may change the status.
    made.is_inlined.set(true);
    made
}

/// Values are those of the subrequest, even where the same variable is set by several lines.
fn set_variables(request: &Request, made: &Request, asked: &Asked) {
    for (variable, value) in &asked.set {
        let value = {
            let _lent = Lent::to(request, made);
            value.value(made)
        };
        if let Err(text) = request.assign(variable, Some(value)) {
            request.log(Level::Error, format_args!("auth_request_set: {text}"));
        }
    }
}

/// What the client is to prove goes on to it, even where `proxy_hide_header` has taken it out.
fn pass_challenge(request: &Request, made: &Request) {
    const NAME: &str = "WWW-Authenticate";
    let wanted = NAME.to_ascii_lowercase();
    let (own, received) = (made.response.borrow(), made.upstream_headers.borrow());
    let own = own.headers.all(wanted.as_bytes()).cloned();
    let mut challenges: Vec<Bytes> = own.collect();
    if challenges.is_empty() {
        challenges.extend(received.all(wanted.as_bytes()).map(Bytes::copy_from_slice));
    }
    let mut response = request.response.borrow_mut();
    for challenge in challenges {
        response.headers.append(NAME, challenge);
    }
}
