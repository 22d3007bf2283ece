//! The keeper over processes: what waits is handed over, what was not put in is found.

use super::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const URL: &str = "http://127.0.0.1:1/hook";

fn letter(at_ms: u64) -> Letter {
    let id = format!("api-{at_ms}-1");
    Letter { id, url: URL.to_owned(), at_ms, body: "{}".to_owned() }
}

fn beginning(folder: &std::path::Path, recent: &[u64]) -> Beginning {
    Beginning {
        rollout: "api".to_owned(),
        journal: folder.join("api.journal"),
        urls: [URL.to_owned()].into(),
        recent: recent.iter().map(|it| (*it, vec![letter(*it)])).collect(),
    }
}

fn keeper() -> (Keeper, UnboundedReceiver<u64>) {
    let (sender, sent) = unbounded_channel();
    let send = move |_: &str, it: Letter, _: Arc<AtomicBool>| {
        let _ = sender.send(it.at_ms);
    };
    (Keeper::start(Box::new(send)).unwrap(), sent)
}

/// What is handed over until the keeper is ended.
fn ended(keeper: &Keeper, sent: &mut UnboundedReceiver<u64>) -> Vec<u64> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(keeper.end());
    std::iter::from_fn(|| sent.try_recv().ok()).collect()
}

fn keep(keeper: &Keeper, at_ms: u64) -> Arc<AtomicBool> {
    let mark = Arc::default();
    let letters = vec![letter(at_ms)];
    keeper.keep(Kept { rollout: "api".to_owned(), at_ms, letters, mark: Arc::clone(&mark) });
    mark
}

/// Keeps a message, and waits until it is on the disk: the children that other tests start hold all
/// locks until they are programs.
fn kept(keeper: &Keeper, at_ms: u64) {
    let mark = keep(keeper, at_ms);
    while !mark.load(Ordering::Relaxed) {
        thread::yield_now();
    }
}

#[test]
fn what_waits_and_what_was_not_put_in_is_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let now = clock::unix_ms();
    let (first, mut sent) = keeper();
    first.begin(beginning(dir.path(), &[now - 9]));
    kept(&first, now);
    kept(&first, now + 1);
    first.take("api", &format!("api-{now}-1"), URL);
    assert!(ended(&first, &mut sent).is_empty(), "a new outbox repeats no history");
    // The journal has one more than the outbox.
    for _ in 0..2 {
        let (next, mut sent) = keeper();
        next.begin(beginning(dir.path(), &[now, now + 1, now + 2]));
        let first = [sent.blocking_recv(), sent.blocking_recv()];
        assert_eq!(first, [Some(now + 1), Some(now + 2)], "nobody takes them");
        assert!(ended(&next, &mut sent).is_empty());
    }
    let (third, mut sent) = keeper();
    third.begin(beginning(dir.path(), &[now, now + 1, now + 2]));
    assert_eq!(sent.blocking_recv(), Some(now + 1));
    third.take("api", &format!("api-{}-1", now + 1), URL);
    third.take("api", &format!("api-{}-1", now + 2), URL);
    ended(&third, &mut sent);
    let (fourth, mut sent) = keeper();
    fourth.begin(beginning(dir.path(), &[now, now + 1, now + 2]));
    kept(&fourth, now + 3);
    assert!(ended(&fourth, &mut sent).is_empty());
}

#[test]
fn without_a_folder_nothing_is_kept_and_nothing_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (keeper, mut sent) = keeper();
    keeper.begin(beginning(&dir.path().join("nowhere"), &[]));
    let mark = keep(&keeper, clock::unix_ms());
    assert!(ended(&keeper, &mut sent).is_empty());
    assert!(!mark.load(Ordering::Relaxed));
}

#[test]
fn without_webhooks_there_is_no_outbox() {
    let dir = tempfile::tempdir().unwrap();
    let (first, mut sent) = keeper();
    first.begin(beginning(dir.path(), &[]));
    kept(&first, clock::unix_ms());
    ended(&first, &mut sent);
    assert!(dir.path().join("api.journal.outbox").exists());
    let (second, mut sent) = keeper();
    second.begin(Beginning { urls: [].into(), ..beginning(dir.path(), &[]) });
    assert!(ended(&second, &mut sent).is_empty());
    assert!(!dir.path().join("api.journal.outbox").exists());
}
