//! Webhooks: every transition of a rollout, told as JSON to whoever the configuration names.
//!
//! Nothing waits for them: transitions go into a bounded queue, and each URL has a task and a queue
//! of its own, so that a receiver that is down keeps no other from being told. A message may come
//! twice: its `id` tells. When the process ends, what waits has a last while to be delivered, and
//! what is not by then is said in the log and counted.

use super::exchange::{Url, exchange};
use super::fleet::{Tell, Transition};
use crate::clock;
use crate::log::{Level, main_log};
use crate::metrics;
use crate::resolver::Resolver;
use arc_swap::ArcSwap;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Transitions that wait, of all rollouts.
const MOST_WAITING: usize = 256;
/// Messages that wait for one URL.
const MOST_A_URL: usize = 64;
/// The pauses between the tries of a message; behind the last it is given up.
const PAUSES_MS: [u64; 8] = [500, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 60_000];
/// A URL's task ends when it had nothing to do for so long.
const IDLE: Duration = Duration::from_secs(300);
/// How long the end of the process waits for receivers.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A message on its way.
#[derive(Debug)]
struct Post {
    rollout: String,
    body: String,
    /// It was delivered or given up.
    is_done: bool,
}

impl Drop for Post {
    fn drop(&mut self) {
        if !self.is_done {
            dropped(&self.rollout, "the process ends");
        }
    }
}

/// What tells receivers, until it is ended.
#[derive(Debug)]
pub struct Teller {
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Teller {
    /// Tells of `transitions`; within a tokio runtime. Names are resolved by `resolver`.
    pub fn start(transitions: Receiver<Transition>, resolver: Arc<ArcSwap<Resolver>>) -> Self {
        let (close, closed) = oneshot::channel();
        Self { close, task: tokio::spawn(run(transitions, resolver, closed)) }
    }

    /// Gives what waits a last while to be delivered.
    pub async fn end(self) {
        // One that has ended needs no word.
        let _ = self.close.send(());
        let _ = self.task.await;
    }
}

/// Who is told of transitions, and where they arrive for [`Teller`].
pub fn queue() -> (Tell, Receiver<Transition>) {
    let (sender, receiver) = mpsc::channel(MOST_WAITING);
    let tell = move |transition: Transition| {
        if transition.webhooks.is_empty() {
            return;
        }
        if let Err(error) = sender.try_send(transition) {
            let name = match error {
                mpsc::error::TrySendError::Full(it) => it.status.name.clone(),
                // The process is ending.
                mpsc::error::TrySendError::Closed(_) => return,
            };
            dropped(&name, "too many transitions wait");
        }
    };
    (Box::new(tell), receiver)
}

/// Tells until nobody sends any more, or until it is `closed`.
async fn run(
    mut transitions: Receiver<Transition>,
    resolver: Arc<ArcSwap<Resolver>>,
    mut closed: oneshot::Receiver<()>,
) {
    let mut urls: HashMap<String, Sender<Post>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut number = 0u64;
    loop {
        let transition = tokio::select! {
            biased;
            it = transitions.recv() => it,
            _ = &mut closed => None,
        };
        let Some(transition) = transition else { break };
        number += 1;
        urls.retain(|_, it| !it.is_closed());
        while tasks.try_join_next().is_some() {}
        for url in transition.webhooks.iter() {
            let rollout = transition.status.name.clone();
            let post = Post { body: message(&transition, number), rollout, is_done: false };
            let queue = urls.entry(url.clone()).or_insert_with(|| {
                let (sender, posts) = mpsc::channel(MOST_A_URL);
                tasks.spawn(deliver_all(url.clone(), posts, Arc::clone(&resolver)));
                sender
            });
            if let Err(error) = queue.try_send(post) {
                error.into_inner().is_done = true;
                let why = format!("too many messages wait for {url}");
                dropped(&transition.status.name, &why);
            }
        }
    }
    // A queue without a sender ends once it is empty.
    drop(urls);
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
        tasks.shutdown().await;
    }
}

/// The message: what happened, and where the rollout stands behind it; `number` counts those of
/// this process.
fn message(transition: &Transition, number: u64) -> String {
    let Transition { event, at_ms, status, .. } = transition;
    let at = clock::http_date_of(at_ms / 1000);
    let message = json!({
        "id": format!("{}-{at_ms}-{number}", status.name),
        "rollout": status.name,
        "event": event.kind.as_str(),
        "canary": event.canary,
        "from": event.from,
        "to": event.to,
        "reason": event.reason,
        "at": at,
        "at_ms": at_ms,
        "state": status.state.as_str(),
        "status": &**status,
    });
    message.to_string()
}

async fn deliver_all(url: String, mut posts: Receiver<Post>, resolver: Arc<ArcSwap<Resolver>>) {
    // Checked when the configuration was read.
    let Some(parts) = Url::parse(&url) else { return };
    while let Ok(Some(mut post)) = tokio::time::timeout(IDLE, posts.recv()).await {
        let result = deliver(&parts, &post, &resolver).await;
        post.is_done = true;
        let word = if result.is_ok() { "delivered" } else { "failed" };
        metrics::catalog().rollout_webhooks.with_label_values(&[&post.rollout, word]).inc();
        if let Err(why) = result {
            main_log().say(
                Level::Error,
                format_args!("rollout \"{}\": the webhook {url} is given up: {why}", post.rollout),
            );
        }
    }
}

/// Tries until the receiver has it; it must be able to bear a message twice.
async fn deliver(url: &Url, post: &Post, resolver: &ArcSwap<Resolver>) -> Result<(), String> {
    let mut pauses = PAUSES_MS.iter();
    loop {
        let resolver = resolver.load_full();
        let why = match exchange(&resolver, url, &url.path, Some(&post.body)).await {
            Ok((200..=299, _)) => return Ok(()),
            // It does not want it, and will not later.
            Ok((status @ (300..=407 | 409..=428 | 430..=499), _)) => {
                return Err(format!("it answers {status}"));
            }
            Ok((status, _)) => format!("it answers {status}"),
            Err(why) => why,
        };
        let Some(pause) = pauses.next() else { return Err(why) };
        if *pause == PAUSES_MS[0] {
            main_log().say(
                Level::Warn,
                format_args!(
                    "rollout \"{}\": the webhook http://{}{} is tried again: {why}",
                    post.rollout, url.authority, url.path
                ),
            );
        }
        tokio::time::sleep(Duration::from_millis(*pause)).await;
    }
}

fn dropped(rollout: &str, why: &str) {
    metrics::catalog().rollout_webhooks.with_label_values(&[rollout, "dropped"]).inc();
    main_log()
        .say(Level::Error, format_args!("rollout \"{rollout}\": a webhook is not told, for {why}"));
}

#[cfg(test)]
mod tests;
