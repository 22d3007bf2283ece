//! All workers: started, told together, made more or fewer.

use super::event::Event;
use super::sockets::{Move, Sockets, moves};
use crate::log::{Level, main_log};
use crate::sys::errno::Failure;
use crate::worker::{Plan, Worker};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// A worker and which one of its number it is.
struct Member {
    worker: Worker,
    serial: u64,
}

/// The workers.
pub(super) struct Crew {
    /// Those that serve, by number.
    members: BTreeMap<usize, Member>,
    /// Those that drain.
    leaving: Vec<Member>,
    started: u64,
    events: UnboundedSender<Event>,
}

impl Crew {
    /// Nobody yet; the ends of workers are sent to `events`.
    pub fn new(events: UnboundedSender<Event>) -> Self {
        Self { members: BTreeMap::new(), leaving: Vec::new(), started: 0, events }
    }

    /// How many serve.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// How many threads there are, those that drain included.
    pub fn threads(&self) -> usize {
        self.members.len() + self.leaving.len()
    }

    /// Builds the next generation in every worker, one after the other, and starts the workers
    /// that it wants more. Nothing changes for clients until [`Self::commit`].
    ///
    /// # Errors
    /// Why one could not; then all have forgotten it.
    pub async fn prepare(&mut self, plan: &Plan) -> Result<(), String> {
        let mut result = Ok(());
        for member in self.members.values().take(plan.workers) {
            result = member.worker.prepare(plan.clone()).await;
            if result.is_err() {
                break;
            }
        }
        let known = self.members.len();
        for id in (0..plan.workers).filter(|id| !self.members.contains_key(id)).collect::<Vec<_>>()
        {
            if result.is_ok() {
                result = self.start(id, plan.clone()).await;
            }
        }
        if result.is_err() {
            for member in self.members.values() {
                member.worker.discard();
            }
            self.remove(known, Some(0));
        }
        result
    }

    /// Serves new requests by what was prepared.
    pub async fn commit(&self) {
        for member in self.members.values() {
            member.worker.commit().await;
        }
    }

    /// Starts worker `id`, which has no socket yet.
    ///
    /// # Errors
    /// Why it does not serve.
    pub async fn start(&mut self, id: usize, plan: Plan) -> Result<(), String> {
        self.started += 1;
        let serial = self.started;
        let events = self.events.clone();
        let on_end = move |end| {
            // The process is ending when nobody listens.
            let _ = events.send(Event::WorkerEnded { id, serial, end });
        };
        let (worker, ready) = Worker::start(id, plan, on_end)
            .map_err(|error| Failure::new("pthread_create()", error).to_string())?;
        let result =
            ready.await.unwrap_or_else(|_| Err(format!("worker {id} ended while it started")));
        if result.is_ok() {
            self.members.insert(id, Member { worker, serial });
        } else {
            worker.join();
        }
        result
    }

    /// Gives every socket to one of the first so many workers. A socket changes hands without a
    /// moment in which nobody accepts from it.
    pub fn assign(&self, sockets: &mut Sockets, workers: usize) {
        for (address, sockets) in sockets.iter_mut() {
            let owners: Vec<_> = sockets.iter().map(|it| it.worker).collect();
            for Move { number, from, to } in moves(&owners, workers) {
                let Some(member) = self.members.get(&to) else { continue };
                match sockets[number].listener.try_clone() {
                    Ok(socket) => member.worker.open(address, number, socket),
                    Err(error) => {
                        let failure = Failure::new(format!("dup() of {address}"), error);
                        main_log().say(Level::Emerg, format_args!("{failure}"));
                        continue;
                    }
                }
                sockets[number].worker = Some(to);
                if let Some(before) = from.and_then(|it| self.members.get(&it)) {
                    before.worker.leave(address, number);
                }
            }
        }
    }

    /// Lets the workers from number `first` on drain; those before must have their sockets.
    pub fn remove(&mut self, first: usize, timeout_ms: Option<u64>) {
        for member in self.members.split_off(&first).into_values() {
            member.worker.drain(timeout_ms);
            self.leaving.push(member);
        }
    }

    /// Closes the listener `address` in all workers.
    pub fn close(&self, address: &Arc<str>) {
        for member in self.members.values() {
            member.worker.close(address);
        }
    }

    /// Ends all workers now.
    pub fn stop(&self) {
        for member in self.members.values().chain(&self.leaving) {
            member.worker.stop();
        }
    }

    /// Forgets a worker whose thread has ended; true when it was one that serves.
    pub fn forget(&mut self, id: usize, serial: u64) -> bool {
        if let Some(place) = self.leaving.iter().position(|it| it.serial == serial) {
            self.leaving.swap_remove(place).worker.join();
            return false;
        }
        if self.members.get(&id).is_some_and(|it| it.serial == serial)
            && let Some(member) = self.members.remove(&id)
        {
            member.worker.join();
            return true;
        }
        false
    }
}
