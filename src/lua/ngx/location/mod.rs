//! `ngx.location.capture`, `ngx.location.capture_multi`: requests within a request.

use crate::http::method::Method;
use crate::http::uri;
use crate::log::Level;
use crate::lua::crew::Address;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::ffi::value::Values;
use crate::lua::host::Captured;
use crate::lua::host::Capturing;
use crate::lua::ngx::client::arguments;
use crate::lua::ngx::client::client;
use crate::lua::ngx::location::options::Options;
use crate::lua::ngx::state::of_request;
use crate::lua::outcome::Op;
use crate::request::Body;
use crate::request::Request;
use crate::request::subrequest::Asked;
use crate::request::subrequest::MOST_DEPTH;
use crate::vars::Var;
use bytes::Bytes;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use tokio::task::JoinHandle;

functions! {
    /// Requests within a request.
    pub NGX_LOCATION "ngx.location" {
        capture: HANDLERS => capture,
        capture_multi: HANDLERS => capture_multi,
    }
}

fn capture(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1, 2], "expecting one or two arguments")?;
    let request = client(call)?;
    let options = match call.count() {
        1 => Options::default(),
        _ => Options::read(call, call.value(2), 0)?,
    };
    let capturing = begin(call, &request, call.bytes(1)?, &options)?;
    wait_for(call, &request, vec![capturing])
}

fn capture_multi(call: &Call<'_>) -> ApiResult {
    arguments(call, &[1], "only one argument is expected, but got {}")?;
    let queries = call.table(1)?;
    // Of an array: other keys do not count.
    let count = queries.len();
    if count < 1 {
        return Err("at least one subrequest should be specified".into());
    }
    let request = client(call)?;
    let mut all = Vec::with_capacity(count);
    for index in 0..count {
        let query = match queries.get((index + 1) as f64) {
            Value::Table(query) => query,
            Value::Nil => return Err("only array-like tables are allowed".into()),
            other => {
                let kind = other.kind().name();
                return Err(
                    format!("the query argument {index} is not a table, but a {kind}").into()
                );
            }
        };
        let options = match query.len() {
            1 => Options::default(),
            2 => Options::read(call, query.get(2.0), index)?,
            _ => {
                let text = format!("query argument {index} expecting one or two arguments");
                return Err(text.into());
            }
        };
        let target = query.get(1.0);
        let slot = call.stack().top();
        let Some(target) = call.stack().text(slot) else {
            let kind = target.kind().name();
            let text = format!("bad argument #3 to '?' (string expected, got {kind})");
            return Err(text.into());
        };
        all.push(begin(call, &request, target, &options)?);
    }
    wait_for(call, &request, all)
}

/// Makes the subrequest for `target`; it runs once the script waits.
fn begin(
    call: &Call<'_>,
    parent: &Rc<Request>,
    target: &[u8],
    options: &Options,
) -> Result<Pending, ApiError> {
    let target = Bytes::copy_from_slice(target);
    let Some((path, args)) = uri::parse_unsafe(&target) else {
        let shown = target.escape_ascii();
        parent.log(Level::Error, format_args!("unsafe URI \"{shown}\" was detected"));
        return Err([b"unsafe uri in argument #1: ", &*target].concat().into());
    };
    let args = match (args.filter(|it| !it.is_empty()), options.args.is_empty()) {
        (args, true) => args,
        (None, false) => Some(Bytes::copy_from_slice(&options.args)),
        (Some(args), false) => Some([&args[..], b"&", &options.args].concat().into()),
    };
    if parent.depth() >= MOST_DEPTH {
        let shown = String::from_utf8_lossy(&path);
        parent
            .log(Level::Error, format_args!("lua subrequests cycle while processing \"{shown}\""));
        return Err("failed to issue subrequest: -1".into());
    }
    let made = parent.subrequest(asked(parent, path, args, options)?);
    assign(&made, &options.vars)?;
    if let Some(slot) = options.ctx {
        call.stack().push_copy(slot);
        let anchor = call.stack().anchor();
        of_request(call.vm(), &made, |state| state.ctx = Some(anchor));
    }
    let host = call.vm().host().ok_or("no host")?;
    let mut served = host.capture(call.vm(), &made)?;
    if options.shares_vars {
        let owner = of_request(call.vm(), parent, |state| state.vars_of.clone());
        let owner = owner.unwrap_or_else(|| Rc::clone(parent));
        of_request(call.vm(), &made, |state| state.vars_of = Some(Rc::clone(&owner)));
        served = sharing(owner, Rc::clone(&made), served);
    }
    // A task of its own: requests within requests would nest polls as deep.
    Ok(Pending { request: made, served: tokio::task::spawn_local(served) })
}

/// A subrequest under way. Dropping it gives it up.
struct Pending {
    request: Rc<Request>,
    served: JoinHandle<Captured>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// The subrequest of `parent` to `path`: its method, its fields, its body.
fn asked(
    parent: &Request,
    path: Bytes,
    args: Option<Bytes>,
    options: &Options,
) -> Result<Asked, ApiError> {
    let number = options.method.unwrap_or(Method::Get.number());
    let Some(method) = Method::from_number(number).filter(|it| *it != Method::Connect) else {
        parent.log(Level::Error, format_args!("unsupported HTTP method: {number}"));
        return Err("failed to adjust the subrequest: -1".into());
    };
    let mut headers = parent.headers.borrow().clone();
    let sends = matches!(method, Method::Put | Method::Post) || options.forwards_body;
    let has_none = parent.content_length.get().is_none_or(|it| it == 0);
    let body = match &options.body {
        Some(body) => Body::Memory(body.clone()),
        None if sends || has_none => parent.body_again(),
        None => Body::Memory(Bytes::new()),
    };
    let length = body.length().filter(|it| *it > 0 || options.body.is_some());
    headers.remove(b"content-length");
    if let Some(length) = length {
        headers.append("Content-Length", length.to_string());
    }
    for (name, value) in &options.headers {
        headers.set(name.clone(), value.clone());
    }
    if parent.logs(Level::Debug) {
        let (uri, args) = (path.escape_ascii(), args.as_deref().unwrap_or_default().escape_ascii());
        parent.log(Level::Debug, format_args!("lua http subrequest \"{uri}?{args}\""));
    }
    Ok(Asked {
        method: Bytes::from_static(method.name().as_bytes()),
        uri: path,
        args,
        headers,
        body,
        content_length: length,
        slots: match options.copies_vars {
            true => parent.slots.borrow().clone(),
            false => Vec::new(),
        },
    })
}

/// Sets the variables that a script gives to its subrequest.
fn assign(request: &Request, vars: &[(Vec<u8>, Bytes)]) -> Result<(), ApiError> {
    for (name, value) in vars {
        let shown = String::from_utf8_lossy(name).into_owned();
        let var = match request.snapshot.names.resolve(&name.to_ascii_lowercase()) {
            Some(Var::Builtin(builtin)) if !builtin.is_writable() => {
                request.log(Level::Error, format_args!("variable \"{shown}\" not changeable"));
                return Err("failed to adjust the subrequest: 500".into());
            }
            Some(var) => var,
            None => return Err(unassignable(request, &shown)),
        };
        if request.assign(&var, Some(value.clone())).is_err() {
            return Err(unassignable(request, &shown));
        }
    }
    Ok(())
}

fn unassignable(request: &Request, name: &str) -> ApiError {
    request.log(
        Level::Error,
        format_args!(
            "variable \"{name}\" cannot be assigned a value (maybe you forgot to define it first?) "
        ),
    );
    "failed to adjust the subrequest: -1".into()
}

/// `share_all_vars`: while the subrequest runs, the variables of both are the same ones.
fn sharing(parent: Rc<Request>, made: Rc<Request>, mut served: Capturing) -> Capturing {
    // What `vars` gave is seen by both.
    let given = made.slots.take();
    for (slot, value) in given.into_iter().enumerate() {
        if let (Some(value), Ok(slot)) = (value, u16::try_from(slot)) {
            parent.set_slot(slot, Some(value));
        }
    }
    Box::pin(poll_fn(move |cx| {
        parent.slots.swap(&made.slots);
        let polled = served.as_mut().poll(cx);
        parent.slots.swap(&made.slots);
        polled
    }))
}

/// Notes that a coroutine waits for subrequests, for as long as it does.
struct Capturer {
    all: Rc<RefCell<Vec<Address>>>,
    me: Address,
}

impl Drop for Capturer {
    fn drop(&mut self) {
        self.all.borrow_mut().retain(|it| *it != self.me);
    }
}

/// # Errors
/// As OpenResty, a handler is not ended while another of its coroutines waits for subrequests.
pub fn check_abortable(call: &Call<'_>) -> Result<(), ApiError> {
    if is_capturing(call, None) {
        return Err("attempt to abort with pending subrequests".into());
    }
    Ok(())
}

/// Whether the coroutine `one`, or any of the request, waits for subrequests.
pub fn is_capturing(call: &Call<'_>, one: Option<Address>) -> bool {
    let Some(request) = call.vm().request().filter(|it| it.lua.borrow().is_some()) else {
        return false;
    };
    of_request(call.vm(), &request, |state| {
        let all = state.capturing.borrow();
        one.map_or(!all.is_empty(), |it| all.contains(&it))
    })
}

/// Runs all of them side by side, and gives their responses in order.
fn wait_for(call: &Call<'_>, parent: &Rc<Request>, all: Vec<Pending>) -> ApiResult {
    let capturing = of_request(call.vm(), parent, |state| Rc::clone(&state.capturing));
    let capturer = Capturer { all: capturing, me: call.coroutine() };
    capturer.all.borrow_mut().push(capturer.me);
    let mut running: Vec<_> = all.into_iter().map(Running::Yet).collect();
    let all_done = poll_fn(move |cx| {
        let _ = &capturer;
        let mut is_over = true;
        for one in &mut running {
            if let Running::Yet(pending) = one {
                match Pin::new(&mut pending.served).poll(cx) {
                    Poll::Pending => is_over = false,
                    Poll::Ready(captured) => {
                        // It panicked, which was told of; nobody else ends it.
                        let captured = captured.unwrap_or_default();
                        *one = Running::Over(response::table(&pending.request, captured));
                    }
                }
            }
        }
        if !is_over {
            return Poll::Pending;
        }
        let results = running.drain(..).map(|it| match it {
            Running::Over(result) => result,
            Running::Yet(_) => Owned::Nil,
        });
        Poll::Ready(results.collect::<Values>())
    });
    call.wait_for(Op::Future(Box::pin(all_done)))
}

enum Running {
    Yet(Pending),
    Over(Owned),
}

mod options;
mod response;
