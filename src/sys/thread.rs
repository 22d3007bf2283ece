//! Which thread this is: its kernel id for log lines, its slot for sharded counters and queues.

use parking_lot::Mutex;
use std::cell::Cell;

/// The ids of the process and of this thread, as an error log shows them (`123#125`).
pub fn ids() -> (u32, u32) {
    thread_local! {
        static KNOWN: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    }
    let pid = std::process::id();
    let (known_pid, known_tid) = KNOWN.get();
    // After a fork the thread goes on under another id.
    if known_pid == pid {
        return (pid, known_tid);
    }
    // SAFETY: gettid takes nothing and cannot fail.
    let tid = unsafe { libc::gettid() }.unsigned_abs();
    KNOWN.set((pid, tid));
    (pid, tid)
}

/// A small number that this thread shares with no other living thread: the lowest free one when
/// it first asks, given back when it ends.
pub fn slot() -> usize {
    thread_local! {
        static SLOT: Slot = Slot::take();
    }
    // In a thread's last moments, after its slot went back, any number will do.
    SLOT.try_with(|slot| slot.0).unwrap_or(0)
}

struct Slot(usize);

static TAKEN: Mutex<Vec<bool>> = Mutex::new(Vec::new());

impl Slot {
    fn take() -> Self {
        let mut taken = TAKEN.lock();
        let free = taken.iter().position(|it| !it).unwrap_or(taken.len());
        if free == taken.len() {
            taken.push(true);
        } else {
            taken[free] = true;
        }
        Self(free)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        TAKEN.lock()[self.0] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn living_threads_have_their_own_slots() {
        let mine = slot();
        assert_eq!(mine, slot());
        let theirs = std::thread::spawn(slot).join().unwrap();
        assert_ne!(mine, theirs);
    }

    #[test]
    fn thread_ids_are_the_kernel_s() {
        let (pid, tid) = ids();
        assert_eq!((pid, tid), ids());
        let (other_pid, other_tid) = std::thread::spawn(ids).join().unwrap();
        assert_eq!(pid, other_pid);
        assert_ne!(tid, other_tid);
    }
}
