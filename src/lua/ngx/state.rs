//! What the API keeps beyond a call: of a VM, and of a request.

use crate::log::Level;
use crate::log::main_log;
use crate::lua::crew;
use crate::lua::crew::Address;
use crate::lua::ffi::heap::State;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::thread::Thread;
use crate::lua::ffi::thread::main_stack;
use crate::lua::ffi::thread::trim_main;
use crate::lua::ffi::value::Slot;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::abort::OnAbort;
use crate::lua::ngx::arg::Turn;
use crate::lua::ngx::body_builder::BodyBuilder;
use crate::lua::ngx::names::NameMemo;
use crate::lua::ngx::socket::OfRequest;
use crate::lua::ngx::socket::Sockets;
use crate::lua::ngx::ssl;
use crate::lua::ngx::task::Tasks;
use crate::lua::vm::Vm;
use crate::request::Request;
use smallvec::SmallVec;
use std::cell::Cell;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::ffi::c_int;
use std::fmt;
use std::rc::Rc;

/// Values whose owners went away, to be released when Lua's stack is at hand.
type Dropped = Rc<RefCell<Vec<Anchor>>>;

/// What the API keeps for a VM.
#[derive(Default)]
pub struct PerVm {
    /// Variables by the address of their interned name.
    pub names: NameMemo,
    /// The metatable of header tables.
    pub headers_meta: OnceCell<Anchor>,
    /// That of a request that is to be explained.
    pub traced_headers_meta: OnceCell<Anchor>,
    /// What `ngx.arg` and `ngx.balancer` work on now.
    pub turn: RefCell<Turn>,
    /// A buffer for values of variables.
    pub scratch: Cell<Vec<u8>>,
    /// How many requests it has kept something for.
    pub requests: Cell<u64>,
    /// `ngx.ctx` of code that runs for no request.
    pub orphan: RefCell<Option<Anchor>>,
    /// Its sockets' pools and TLS sessions.
    pub sockets: Sockets,
    /// The threads of `ngx.run_worker_thread`.
    pub tasks: Tasks,
    /// The light threads of what runs now, if it has any.
    pub crew: crew::Current,
    /// Light threads that are dead, while a script holds them: to the address of their parent.
    ended: OnceCell<Anchor>,
    dropped: Dropped,
}

impl PerVm {
    /// Remembers that the light thread `thread` is dead for as long as a script holds it.
    pub fn note_ended(&self, state: &State, thread: &Thread, parent: Address) {
        let stack = main_stack(state);
        let base = stack.top();
        stack.push_anchored(self.ended.get_or_init(|| weak_keys(&stack)));
        if let Some(table) = stack.as_table(-1) {
            table.set(thread, parent as f64);
        }
        trim_main(state, base);
    }

    /// The parent of the light thread in slot `index`, if it is a dead one.
    pub fn parent_of_ended(&self, stack: &Stack<'_>, index: c_int) -> Option<Address> {
        stack.push_anchored(self.ended.get()?);
        match stack.as_table(-1)?.get(Slot(index)) {
            Value::Number(parent) => Some(parent as Address),
            _ => None,
        }
    }

    /// Releases what belonged to requests that are gone.
    pub fn sweep(&self, stack: &Stack<'_>) {
        while let Some(anchor) = self.dropped.borrow_mut().pop() {
            stack.release(anchor);
        }
    }
}

/// What the API keeps for a request; dropped with it, whenever that is.
#[derive(Default)]
pub struct PerRequest {
    /// Its number within the VM, from 1 on.
    pub serial: u64,
    /// Its `ngx.ctx`.
    pub ctx: Option<Anchor>,
    /// Something was said.
    pub has_body: bool,
    /// Slots of variables that a script has set to nil: they read as nil, not as never set.
    pub unset: SmallVec<[u16; 4]>,
    /// Its sockets, which are closed with it.
    pub sockets: OfRequest,
    /// A body between `ngx.req.init_body` and `ngx.req.finish_body`.
    pub body: Option<BodyBuilder>,
    /// The handshake that it stands for.
    pub handshake: Option<ssl::Shared>,
    /// The coroutines that wait for subrequests.
    pub capturing: Rc<RefCell<Vec<Address>>>,
    /// What runs when the client leaves.
    pub on_abort: OnAbort,
    /// The request whose variables are its own too (`share_all_vars`).
    pub vars_of: Option<Rc<Request>>,
    dropped: Dropped,
}

impl fmt::Debug for PerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerRequest").field("ctx", &self.ctx).finish_non_exhaustive()
    }
}

impl PerRequest {
    /// Takes its `ngx.ctx` away, as an internal redirect does.
    pub fn forget_ctx(&mut self) {
        let Some(ctx) = self.ctx.take() else { return };
        let log = main_log();
        if log.enabled(Level::Debug) {
            let place = ctx.place();
            log.say(Level::Debug, format_args!("lua release ngx.ctx at ref {place}"));
        }
        self.dropped.borrow_mut().push(ctx);
    }

    /// What `ngx.on_abort` was given, the first time that it is asked for.
    pub fn take_on_abort(&mut self) -> OnAbort {
        let next = match self.on_abort {
            OnAbort::Unset => OnAbort::Unset,
            OnAbort::Set(_) | OnAbort::Begun => OnAbort::Begun,
        };
        std::mem::replace(&mut self.on_abort, next)
    }
}

impl Drop for PerRequest {
    fn drop(&mut self) {
        self.forget_ctx();
        if let OnAbort::Set(callback) = std::mem::take(&mut self.on_abort) {
            self.dropped.borrow_mut().push(callback);
        }
    }
}

/// Calls `body` with what the API keeps for `request`, which runs in `vm`.
pub fn of_request<T>(vm: &Vm, request: &Request, body: impl FnOnce(&mut PerRequest) -> T) -> T {
    let dropped = &vm.api().dropped;
    let mut kept = request.lua.borrow_mut();
    if let Some(state) = kept.as_mut().and_then(|it| it.downcast_mut::<PerRequest>())
        && Rc::ptr_eq(&state.dropped, dropped)
    {
        return body(state);
    }
    let mut state = PerRequest::default();
    state.dropped = Rc::clone(dropped);
    state.serial = vm.api().requests.get() + 1;
    vm.api().requests.set(state.serial);
    let result = body(&mut state);
    *kept = Some(Box::new(state));
    result
}

/// Where in the registry the `ngx.ctx` of the request is that runs in `vm`, if it has one yet.
pub fn context_place(vm: &Vm) -> Option<c_int> {
    vm.with_request(|request| {
        let kept = request?.lua.borrow();
        let state = kept.as_ref()?.downcast_ref::<PerRequest>()?;
        let is_of_vm = Rc::ptr_eq(&state.dropped, &vm.api().dropped);
        state.ctx.as_ref().filter(|_| is_of_vm).map(Anchor::place)
    })
}

/// Takes the `ngx.ctx` of `request` away: what an internal redirect (`ngx.exec`, an error page)
/// does.
pub fn forget_ctx(request: &Request) {
    let mut kept = request.lua.borrow_mut();
    if let Some(state) = kept.as_mut().and_then(|it| it.downcast_mut::<PerRequest>()) {
        state.forget_ctx();
    }
}

/// A table that does not keep its keys alive.
fn weak_keys(stack: &Stack<'_>) -> Anchor {
    let table = stack.new_table(0, 0);
    let meta = stack.new_table(0, 1);
    meta.set("__mode", "k");
    table.set_metatable(&meta);
    stack.push(&table);
    stack.anchor()
}
