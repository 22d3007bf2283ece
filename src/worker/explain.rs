//! A worker that serves nobody: it runs a made-up request to tell why it would go where it goes.

use super::scripts::{self, Plan};
use crate::cosocket::refusal;
use crate::proxy::WorkerState;
use crate::proxy::explain::{self, Asked};
use crate::request::explain::Explanation;
use std::sync::Arc;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// Explains what would be done with `asked`, on this thread, whose scripts contact nobody from now
/// on.
///
/// # Errors
/// There is no VM, or the request is none.
pub fn explain(plan: &Plan, asked: &Asked) -> Result<Explanation, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("epoll_create1() failed: {error}"))?;
    let tasks = LocalSet::new();
    refusal::begin();
    let explained = tasks.block_on(&runtime, async {
        let generation = scripts::generation(plan, 0)?;
        let worker = WorkerState::dry(generation, Arc::clone(&plan.registry));
        scripts::begin(&worker.current());
        explain::explain(worker, asked).await.map_err(|fault| fault.to_string())
    });
    // Timers that scripts have started end here, within the runtime that they belong to.
    runtime.block_on(async move { drop(tasks) });
    explained.map(|it| Explanation { not_asked: refusal::noted(), ..it })
}
