//! What answers in a location.

use super::echo;
use super::error::Result;
use super::files;
use super::memcached;
use super::phases::{Flow, Serving};
use super::redirect;
use super::retry;
use super::scrape::scrape;
use super::small;
use super::try_files;
use crate::lua::phase::Phase;
use crate::snapshot::location::Content;
use bytes::Bytes;

/// Runs `try_files` and the content handler of the request's location.
pub(super) async fn run(serving: &mut Serving<'_>) -> Result<Flow> {
    if serving.request.location().try_files.is_some() {
        let flow = Box::pin(try_files::run(serving)).await;
        if flow != Flow::Continue {
            return Ok(flow);
        }
    }
    let content = serving.request.location().content.clone();
    if serving.worker.is_dry && !matches!(content, Content::Proxy(_)) {
        return Ok(only_told(serving, &content));
    }
    match content {
        Content::Lua(chunk) => serving.lua_with_body(chunk, Phase::Content).await,
        Content::Proxy(target) if serving.request.conf().proxy.memcached.is_some() => {
            Box::pin(memcached::serve(serving, &target)).await
        }
        Content::Proxy(target) => retry::proxy(serving, &target).await,
        Content::Echo(steps) => echo::serve(serving, &steps).await,
        Content::Metrics => report_metrics(serving),
        Content::EmptyGif => small::empty_gif(serving),
        Content::StubStatus => small::stub_status(serving),
        Content::Files => Box::pin(files::serve(serving)).await,
    }
}

/// What would answer, said and not done.
fn only_told(serving: &Serving<'_>, content: &Content) -> Flow {
    let request = &serving.request;
    request.note_answer(match content {
        Content::Lua(chunk) => request.snapshot.chunks[*chunk as usize].shown.to_string(),
        Content::Echo(_) => "echo".to_owned(),
        Content::Metrics => "metrics".to_owned(),
        Content::EmptyGif => "empty_gif".to_owned(),
        Content::StubStatus => "stub_status".to_owned(),
        Content::Files => format!("files below {}", request.root_path().display()),
        Content::Proxy(_) => "proxy_pass".to_owned(),
    });
    Flow::Done
}

/// `metrics;`: Prometheus's text format.
fn report_metrics(serving: &Serving<'_>) -> Result<Flow> {
    let text = scrape(&serving.worker.registry);
    {
        let mut response = serving.request.response.borrow_mut();
        response.status = 200;
        response.content_type = Some(Bytes::from_static(b"text/plain; version=0.0.4"));
        response.content_length = Some(text.len() as u64);
    }
    redirect::respond(serving, text.into())
}
