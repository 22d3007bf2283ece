//! Load: clients that ask without pause until they are told to stop, and count what went wrong.

use super::client::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// Running clients; they stop when this goes.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    failures: std::sync::Mutex<Vec<String>>,
}

impl Load {
    /// `keepalive` clients that keep their connection as long as the server lets them, and `fresh`
    /// ones with a connection a request, all asking for `uri` and expecting a 200.
    pub fn start(port: u16, uri: &'static str, keepalive: usize, fresh: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (0..keepalive + fresh)
            .map(|index| {
                let shared = Arc::clone(&shared);
                let keeps = index < keepalive;
                thread::spawn(move || shared.ask(port, uri, keeps))
            })
            .collect();
        Self { shared, threads }
    }

    /// Good answers until now.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Waits for `count` more good answers.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        let goal = self.answered() + count;
        super::eventually("answers under load", || (self.answered() >= goal).then_some(()));
    }

    /// Stops all clients; gives the number of good answers and what each bad one was.
    pub fn stop(mut self) -> (usize, Vec<String>) {
        self.join();
        let failures = self.shared.failures.lock().expect("no client panics").clone();
        (self.answered(), failures)
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

impl Shared {
    fn ask(&self, port: u16, uri: &str, keeps: bool) {
        let mut kept: Option<Client> = None;
        while !self.stop.load(Ordering::SeqCst) {
            let reused = kept.is_some();
            let fields = if keeps { "" } else { "Connection: close\r\n" };
            let answer =
                kept.take().map_or_else(|| Client::connect(port), Ok).and_then(|mut it| {
                    let response = it.request("GET", uri, fields)?;
                    Ok((response, it))
                });
            match answer {
                Ok((response, client)) if response.status() == 200 => {
                    self.answered.fetch_add(1, Ordering::SeqCst);
                    kept = Some(client).filter(|_| keeps && !response.closes());
                }
                Ok((response, _)) => self.fail(format!("{}: {}", response.head.start, reused)),
                Err(error) => self.fail(format!("{error} (reused connection: {reused})")),
            }
        }
    }

    fn fail(&self, what: String) {
        self.failures.lock().expect("no client panics").push(what);
    }
}
