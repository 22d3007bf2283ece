//! The light threads of one run: whose turn it is, who waits for what, who is done and unclaimed.
//! A run without `ngx.thread.spawn` has none of this; `run/turns.rs` drives it.

use crate::lua::ffi::thread::Thread;
use crate::lua::ffi::value::Values;
use crate::lua::outcome::Finish;
use crate::lua::vm::Vm;
use smallvec::SmallVec;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

/// The address of a coroutine, by which scripts' arguments and members are matched.
pub type Address = usize;

/// What stands between a coroutine and its next resume.
pub enum Wait {
    /// Nothing: so many values on its stack are the arguments.
    Ready(usize),
    /// A future.
    Future(Pin<Box<dyn Future<Output = Values>>>),
    /// The caller, by `resume_downstream`.
    Downstream(Finish),
    /// The others' turn: `coroutine.yield()` of the thread itself.
    Turn,
    /// The first of these light threads to end: `ngx.thread.wait`.
    Threads(SmallVec<[Address; 4]>),
    /// It has ended.
    Over,
}

impl Wait {
    /// For `Debug`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ready(_) => "ready",
            Self::Future(_) => "waits for a future",
            Self::Downstream(_) => "waits for its caller",
            Self::Turn => "waits for its turn",
            Self::Threads(_) => "waits for light threads",
            Self::Over => "over",
        }
    }
}

/// A light thread, or the handler itself.
pub struct Member {
    /// Its coroutine's address.
    pub address: Address,
    /// The coroutine that spawned it; 0 for the handler.
    pub parent: Address,
    /// That coroutine is a member itself, not one that a script made within a member.
    pub has_member_parent: bool,
    /// `None` while it is the one that runs.
    pub thread: Option<Thread>,
    /// What it waits for, while it does not run.
    pub wait: Wait,
    /// How it ended, while nobody has asked: its results are on its stack.
    pub ended: Option<bool>,
}

/// All light threads of a run.
#[derive(Default)]
pub struct Crew {
    /// The handler's own coroutine.
    pub entry: Cell<Address>,
    /// The member that runs, or ran last.
    pub current: Cell<Address>,
    members: RefCell<Vec<Member>>,
    turns: RefCell<VecDeque<Address>>,
    /// Who waits for the session's owner, in the order in which they asked.
    asking: RefCell<VecDeque<Address>>,
}

impl Crew {
    /// Adds a member.
    pub fn add(&self, member: Member) {
        self.members.borrow_mut().push(member);
    }

    /// Takes a member out.
    pub fn remove(&self, address: Address) -> Option<Member> {
        let mut members = self.members.borrow_mut();
        let index = members.iter().position(|it| it.address == address)?;
        Some(members.swap_remove(index))
    }

    /// Looks at a member; `None` when there is no such one.
    pub fn with<T>(&self, address: Address, look: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.members.borrow_mut().iter_mut().find(|it| it.address == address).map(look)
    }

    /// A member that has ended, or all of them when the run is over.
    pub fn remove_if(&self, mut goes: impl FnMut(&Member) -> bool) -> Vec<Member> {
        let mut members = self.members.borrow_mut();
        let mut gone = Vec::new();
        let mut index = 0;
        while index < members.len() {
            if goes(&members[index]) {
                gone.push(members.swap_remove(index));
            } else {
                index += 1;
            }
        }
        gone
    }

    /// The member that waits for `child` to end.
    pub fn waiter_of(&self, child: Address) -> Option<Address> {
        let members = self.members.borrow();
        let waits = |it: &&Member| matches!(&it.wait, Wait::Threads(all) if all.contains(&child));
        members.iter().find(waits).map(|it| it.address)
    }

    /// Whether none is left that could go on.
    pub fn is_over(&self) -> bool {
        self.members.borrow().iter().all(|it| it.ended.is_some())
    }

    /// `address` goes on next.
    pub fn goes_next(&self, address: Address) {
        self.turns.borrow_mut().push_front(address);
    }

    /// `address` goes on after those whose turn it is already.
    pub fn goes_last(&self, address: Address) {
        self.turns.borrow_mut().push_back(address);
    }

    /// Whether somebody else can go on.
    pub fn has_turns(&self) -> bool {
        !self.turns.borrow().is_empty()
    }

    /// Who goes on.
    pub fn next_turn(&self) -> Option<Address> {
        self.turns.borrow_mut().pop_front()
    }

    /// Asks all futures; those whose wait is over get their turn.
    pub fn poll(&self, vm: &Vm, cx: &mut Context<'_>) {
        for member in self.members.borrow_mut().iter_mut() {
            if let (Wait::Future(future), Some(thread)) = (&mut member.wait, &member.thread)
                && let Poll::Ready(values) = future.as_mut().poll(cx)
            {
                member.wait = Wait::Ready(thread.stack(vm.state()).push(values));
                self.goes_last(member.address);
            }
        }
    }

    /// Those that gave their turn away get it again; whether there were any.
    pub fn turn_again(&self) -> bool {
        for member in self.members.borrow_mut().iter_mut() {
            if matches!(member.wait, Wait::Turn) {
                member.wait = Wait::Ready(0);
                self.goes_last(member.address);
            }
        }
        self.has_turns()
    }

    /// `address` waits for the session's owner.
    pub fn asks(&self, address: Address) {
        self.asking.borrow_mut().push_back(address);
    }

    /// The member that the owner's next answer is for; it may be gone.
    pub fn answered(&self) -> Option<Address> {
        self.asking.borrow_mut().pop_front()
    }
}

/// Ends a light thread: its wait is dropped, and whoever still holds it is told that it is dead.
pub fn bury(vm: &Vm, member: Member) {
    let Member { parent, thread, wait, .. } = member;
    drop(wait);
    if let Some(thread) = thread {
        vm.api().note_ended(vm.state(), &thread, parent);
        thread.discard(vm.state());
    }
}

/// The crew of the run that runs now.
pub type Current = RefCell<Option<Rc<Crew>>>;
