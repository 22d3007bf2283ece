//! Webhooks: every transition of a rollout, told as JSON to whoever the configuration names.
//!
//! Nothing waits for them: messages go into a bounded queue, and each URL has a task and a queue
//! of its own, so that a receiver that is down keeps no other from being told. A message may come
//! twice: its `id` tells. What waits is in an outbox beside the journal ([`super::outbox`]), so
//! that the next process tells what this one could not. When the process ends, what waits has a
//! last while to be delivered; what is neither delivered nor kept is said in the log and counted.

use super::exchange::{Url, exchange};
use super::news::{News, Tell, Transition};
use super::outbox::Letter;
use super::outbox::keeper::{Beginning, Keeper, Kept};
use crate::clock;
use crate::log::{Level, main_log};
use crate::metrics;
use crate::resolver::Resolver;
use crate::sys::errno::Failure;
use arc_swap::ArcSwap;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Messages that wait for the tasks of their URLs.
const MOST_WAITING: usize = 256;
/// Messages that wait for one URL.
const MOST_A_URL: usize = 256;
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
    letter: Letter,
    /// It is in the outbox.
    is_kept: Arc<AtomicBool>,
    /// It was delivered or given up.
    is_done: bool,
}

impl Drop for Post {
    fn drop(&mut self) {
        let Letter { id, url, .. } = &self.letter;
        if self.is_done {
            return;
        }
        if self.is_kept.load(Ordering::Relaxed) {
            let rollout = &self.rollout;
            let text = "is told by the next process";
            main_log().say(
                Level::Notice,
                format_args!("rollout \"{rollout}\": the webhook {url} {text} of {id}"),
            );
        } else {
            dropped(&self.rollout, "the process ends");
        }
    }
}

/// Messages as they come, and who keeps them.
#[derive(Debug)]
pub struct Queue {
    posts: Receiver<Post>,
    keeper: Keeper,
}

/// What tells receivers, until it is ended.
#[derive(Debug)]
pub struct Teller {
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
    keeper: Keeper,
}

impl Teller {
    /// Tells what comes through `queue`; within a tokio runtime. Names are resolved by `resolver`.
    pub fn start(queue: Queue, resolver: Arc<ArcSwap<Resolver>>) -> Self {
        let (close, closed) = oneshot::channel();
        let keeper = queue.keeper.clone();
        Self { close, task: tokio::spawn(run(queue, resolver, closed)), keeper }
    }

    /// Gives what waits a last while to be delivered, and lets the outboxes go.
    pub async fn end(self) {
        // One that has ended needs no word.
        let _ = self.close.send(());
        let _ = self.task.await;
        self.keeper.end().await;
    }
}

/// Who is told of rollouts, and what comes of that for [`Teller`].
///
/// # Errors
/// `pthread_create() failed …`.
pub fn queue() -> Result<(Tell, Queue), Failure> {
    let (sender, posts) = mpsc::channel(MOST_WAITING);
    let waiting = sender.clone();
    let keeper = Keeper::start(Box::new(move |rollout, letter, is_kept| {
        let rollout = rollout.to_owned();
        // The process may be ending.
        let _ = waiting.blocking_send(Post { rollout, letter, is_kept, is_done: false });
    }))?;
    let ear = keeper.clone();
    let tell = move |news| match news {
        News::Begins { rollout, journal, webhooks: urls, recent } => {
            let recent = recent.iter().map(|it| (it.at_ms, letters(it))).collect();
            ear.begin(Beginning { rollout, journal, urls, recent });
        }
        News::Transition(transition) => tell(&transition, &sender, &ear),
        News::Leaves(rollout) => ear.leave(&rollout),
    };
    Ok((Box::new(tell), Queue { posts, keeper }))
}

fn tell(transition: &Transition, sender: &Sender<Post>, keeper: &Keeper) {
    let letters = letters(transition);
    if letters.is_empty() {
        return;
    }
    let (rollout, at_ms, mark) = (&transition.status.name, transition.at_ms, Arc::default());
    keeper.keep(Kept {
        rollout: rollout.clone(),
        at_ms,
        letters: letters.clone(),
        mark: Arc::clone(&mark),
    });
    for letter in letters {
        let is_kept = Arc::clone(&mark);
        let post = Post { rollout: rollout.clone(), letter, is_kept, is_done: false };
        match sender.try_send(post) {
            Ok(()) => {}
            Err(TrySendError::Full(post)) => give_up(post, keeper, "too many messages wait"),
            // The process is ending: the next one tells.
            Err(TrySendError::Closed(mut post)) => post.is_done = true,
        }
    }
}

/// The messages on a transition, one for each receiver.
fn letters(transition: &Transition) -> Vec<Letter> {
    let Transition { at_ms, number, status, webhooks, .. } = transition;
    let id = format!("{}-{at_ms}-{number}", status.name);
    let body = message(transition, &id);
    let letter = |url: &String| Letter {
        id: id.clone(),
        url: url.clone(),
        at_ms: *at_ms,
        body: body.clone(),
    };
    webhooks.iter().map(letter).collect()
}

/// There is no room for a message.
fn give_up(mut post: Post, keeper: &Keeper, why: &str) {
    post.is_done = true;
    keeper.take(&post.rollout, &post.letter.id, &post.letter.url);
    dropped(&post.rollout, why);
}

/// Tells until nobody sends any more, or until it is `closed`.
async fn run(queue: Queue, resolver: Arc<ArcSwap<Resolver>>, mut closed: oneshot::Receiver<()>) {
    let Queue { mut posts, keeper } = queue;
    let mut urls: HashMap<String, Sender<Post>> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let post = tokio::select! {
            biased;
            it = posts.recv() => it,
            _ = &mut closed => None,
        };
        let Some(post) = post else { break };
        urls.retain(|_, it| !it.is_closed());
        while tasks.try_join_next().is_some() {}
        let url = post.letter.url.clone();
        let queue = urls.entry(url.clone()).or_insert_with(|| {
            let (sender, posts) = mpsc::channel(MOST_A_URL);
            let resolver = Arc::clone(&resolver);
            tasks.spawn(deliver_all(url.clone(), posts, resolver, keeper.clone()));
            sender
        });
        if let Err(error) = queue.try_send(post) {
            let why = format!("too many messages wait for {url}");
            give_up(error.into_inner(), &keeper, &why);
        }
    }
    // A queue without a sender ends once it is empty.
    drop(urls);
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
        tasks.shutdown().await;
    }
}

/// The message `id`: what happened, and where the rollout stands behind it.
fn message(transition: &Transition, id: &str) -> String {
    let Transition { event, at_ms, status, .. } = transition;
    let at = clock::http_date_of(at_ms / 1000);
    let message = json!({
        "id": id,
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

async fn deliver_all(
    url: String,
    mut posts: Receiver<Post>,
    resolver: Arc<ArcSwap<Resolver>>,
    keeper: Keeper,
) {
    // Checked when the configuration was read.
    let Some(parts) = Url::parse(&url) else { return };
    while let Ok(Some(mut post)) = tokio::time::timeout(IDLE, posts.recv()).await {
        let result = deliver(&parts, &post, &resolver).await;
        post.is_done = true;
        keeper.take(&post.rollout, &post.letter.id, &url);
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
        let why = match exchange(&resolver, url, &url.path, Some(&post.letter.body)).await {
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
