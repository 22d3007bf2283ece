//! What answers in a location.

use super::echo;
use super::error::Result;
use super::files;
use super::phases::{Flow, Serving};
use super::redirect;
use super::retry;
use super::scrape::scrape;
use crate::lua::phase::Phase;
use crate::snapshot::location::Content;
use bytes::Bytes;

/// Runs the content handler of the request's location.
pub(super) async fn run(serving: &mut Serving<'_>) -> Result<Flow> {
    match serving.request.location().content.clone() {
        Content::Lua(chunk) => serving.lua_with_body(chunk, Phase::Content).await,
        Content::Proxy(target) => retry::proxy(serving, &target).await,
        Content::Echo(steps) => echo::serve(serving, &steps).await,
        Content::Metrics => report_metrics(serving),
        Content::Files => Box::pin(files::serve(serving)).await,
    }
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
