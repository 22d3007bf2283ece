//! Subrequests of `echo_location` and its like: what they answer stands in the answer of the
//! request that makes them, in the order in which they were made.

use super::error::Result;
use super::phases::{self, Serving};
use super::subrequest;
use crate::http::uri;
use crate::log::Level;
use crate::lua::host::Captured;
use crate::request::Request;
use crate::request::body::{Body, BodyFile};
use crate::request::subrequest::{Asked, MOST_DEPTH};
use crate::snapshot::echo::Ask;
use bytes::Bytes;
use std::rc::Rc;
use tokio::task::JoinHandle;

/// Parts of a body that wait for one that is not there yet.
#[derive(Default)]
pub(super) struct Held(Vec<Part>);

enum Part {
    Text(Bytes),
    Asked(Asking),
}

/// A subrequest under way. Dropping it gives it up.
struct Asking(JoinHandle<Captured>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Held {
    /// What was said goes behind what is awaited.
    pub fn keep(&mut self, request: &Request) {
        if !self.0.is_empty() {
            let chunks = std::mem::take(&mut request.output.borrow_mut().chunks);
            self.0.extend(chunks.into_iter().map(Part::Text));
        }
    }

    /// Makes a subrequest; its answer comes in its turn. It has passed the filters of its own
    /// location, not those of this one.
    ///
    /// # Errors
    /// It cannot be made: the response is cut.
    pub async fn ask(&mut self, serving: &mut Serving<'_>, ask: &Ask) -> Result<()> {
        let request = serving.request.clone();
        let made = make(&request, ask)?;
        self.keep(&request);
        serving.client.flush_output(&request).await?;
        let (worker, generation) = (serving.worker.clone(), serving.generation.clone());
        // A task of its own: requests within requests would nest polls as deep.
        let served = subrequest::serve(worker, generation, made);
        self.0.push(Part::Asked(Asking(tokio::task::spawn_local(served))));
        if ask.waits { self.release(serving).await } else { Ok(()) }
    }

    /// Waits for all that is awaited, and passes it on.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn release(&mut self, serving: &mut Serving<'_>) -> Result<()> {
        for part in std::mem::take(&mut self.0) {
            let text = match part {
                Part::Text(text) => text,
                Part::Asked(mut asking) => match (&mut asking.0).await {
                    Ok(captured) if !captured.truncated => captured.body.into(),
                    _ => return phases::cut("a subrequest has failed"),
                },
            };
            serving.request.output.borrow_mut().push(text);
            serving.client.flush_output(&serving.request).await?;
        }
        Ok(())
    }
}

/// The subrequest: its fields and its body are those of `request` unless it has its own.
fn make(request: &Rc<Request>, ask: &Ask) -> Result<Rc<Request>> {
    let uri = ask.uri.value(&**request);
    let Some((path, own)) = uri::parse_unsafe(&uri) else {
        let shown = String::from_utf8_lossy(&uri).into_owned();
        let verb = if ask.method.is_some() { "echo_subrequest" } else { "echo_location" };
        request.log(Level::Debug, format_args!("{verb} sees unsafe uri: \"{shown}\""));
        return phases::cut("an unsafe URI of a subrequest");
    };
    if request.depth() >= MOST_DEPTH {
        let shown = String::from_utf8_lossy(&path).into_owned();
        request.log(Level::Error, format_args!("subrequests cycle while processing \"{shown}\""));
        return phases::cut("subrequests in a cycle");
    }
    let args = ask.args.as_ref().map(|it| it.value(&**request)).or(own);
    let method = ask.method.as_ref().map(|it| it.value(&**request));
    let own_body = body(request, ask)?;
    let mut headers = request.headers.borrow().clone();
    let length = match &own_body {
        Some(body) => {
            headers.remove(b"content-length");
            let length = body.length();
            headers.append("Content-Length", length.unwrap_or(0).to_string());
            length
        }
        None => request.content_length.get(),
    };
    let made = request.subrequest(Asked {
        method: method.unwrap_or(Bytes::from_static(b"GET")),
        uri: path,
        args: args.filter(|it| !it.is_empty()),
        headers,
        body: own_body.unwrap_or_else(|| request.body_again()),
        content_length: length,
        slots: Vec::new(),
    });
    made.is_inlined.set(true);
    Ok(made)
}

/// A body that was written for the subrequest.
fn body(request: &Request, ask: &Ask) -> Result<Option<Body>> {
    let text = ask.body.as_ref().map(|it| it.value(request)).filter(|it| !it.is_empty());
    if let Some(text) = text {
        return Ok(Some(Body::Memory(text)));
    }
    let file = ask.file.as_ref().map(|it| it.value(request)).filter(|it| !it.is_empty());
    let Some(file) = file else { return Ok(None) };
    let path = request.snapshot.prefix.join(String::from_utf8_lossy(&file).as_ref());
    match std::fs::metadata(&path) {
        Ok(found) => Ok(Some(Body::File(BodyFile { path, length: found.len(), temporary: false }))),
        Err(error) => {
            let (shown, error) = (path.display(), crate::sys::errno::Errno(&error));
            request.log(Level::Error, format_args!("open() \"{shown}\" failed {error}"));
            phases::cut("the body of a subrequest is not there")
        }
    }
}
