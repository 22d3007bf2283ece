//! The allocator under one VM: it counts bytes and refuses what is over the limit, but only while
//! Lua code runs. Within a Rust function an allocation never fails, so that no Lua error starts in
//! the middle of one: the script meets its limit at its own next allocation.

use crate::lua::ffi::raw::lua_State;
use std::alloc::Layout;
use std::cell::Cell;
use std::ffi::c_void;

/// Memory of one VM. Shared with LuaJIT by address, so it is boxed and outlives the state.
#[derive(Debug, Default)]
pub struct Heap {
    used: Cell<usize>,
    limit: Cell<usize>,
    strict: Cell<bool>,
    exhausted: Cell<bool>,
    /// Bytes in use from which on garbage is to be collected, whatever LuaJIT's pace.
    collect_at: Cell<usize>,
    /// An allocation was refused since garbage was collected.
    is_full: Cell<bool>,
}

impl Heap {
    /// A heap that gives Lua code at most `limit_bytes`; 0 is no limit.
    pub fn new(limit_bytes: usize) -> Box<Self> {
        let heap = Box::new(Self::default());
        heap.limit.set(limit_bytes);
        heap.collected();
        heap
    }

    /// Whether garbage has to be collected: LuaJIT, which lets memory double before it does, knows
    /// nothing of the limit.
    pub fn wants_collection(&self) -> bool {
        self.used.get() > self.collect_at.get() || self.is_full.get()
    }

    /// Garbage was collected: the next time is when half of what is then left is in use.
    pub fn collected(&self) {
        let (used, limit) = (self.used.get(), self.limit.get());
        let next = if limit == 0 { usize::MAX } else { used + limit.saturating_sub(used) / 2 };
        self.collect_at.set(next);
        self.is_full.set(false);
    }

    /// Bytes in use now.
    pub fn used_bytes(&self) -> usize {
        self.used.get()
    }

    /// Whether an allocation was ever refused.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.get()
    }

    /// Applies the limit (`true`: Lua code runs) or not; gives what held before.
    pub(in crate::lua::ffi) fn set_strict(&self, strict: bool) -> bool {
        self.strict.replace(strict)
    }

    fn admits(&self, old: usize, new: usize) -> bool {
        let after = self.used.get() - old + new;
        let refused =
            self.strict.get() && new > old && self.limit.get() != 0 && after > self.limit.get();
        if refused {
            self.exhausted.set(true);
            self.is_full.set(true);
        } else {
            self.used.set(after);
        }
        !refused
    }
}

/// LuaJIT's allocation function (`lua_Alloc`).
///
/// # Safety
/// `heap` is the address of a live `Heap`; `block` was given by this function with `old` bytes.
pub(in crate::lua::ffi) unsafe extern "C" fn allocate(
    heap: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    const ALIGN: usize = 16;
    // SAFETY: the caller's promise; only this thread touches the heap.
    let heap = unsafe { &*heap.cast::<Heap>() };
    let old = if block.is_null() { 0 } else { old };
    if !heap.admits(old, new) {
        return std::ptr::null_mut();
    }
    let (Ok(old_layout), Ok(new_layout)) =
        (Layout::from_size_align(old, ALIGN), Layout::from_size_align(new, ALIGN))
    else {
        return std::ptr::null_mut();
    };
    // SAFETY: a block of `old` > 0 bytes has `old_layout`; sizes given to the allocator are not 0.
    unsafe {
        match (old, new) {
            (0, 0) => std::ptr::null_mut(),
            (0, _) => std::alloc::alloc(new_layout).cast(),
            (_, 0) => {
                std::alloc::dealloc(block.cast(), old_layout);
                std::ptr::null_mut()
            }
            _ => std::alloc::realloc(block.cast(), old_layout, new).cast(),
        }
    }
}

/// A Lua state and its heap; closed when dropped.
#[derive(Debug)]
pub struct State {
    raw: Cell<*mut lua_State>,
    heap: Box<Heap>,
}

impl State {
    /// A new state with LuaJIT's standard libraries.
    ///
    /// # Errors
    /// `None` when the memory for it cannot be had.
    pub fn new(limit_bytes: usize) -> Option<Self> {
        let heap = Heap::new(limit_bytes);
        let address = std::ptr::from_ref::<Heap>(&heap).cast_mut().cast();
        // SAFETY: `heap` is boxed and dropped after the state; it is not strict here, so no
        // allocation fails and `luaL_openlibs` raises nothing.
        unsafe {
            let raw = crate::lua::ffi::raw::lua_newstate(allocate, address);
            if raw.is_null() {
                return None;
            }
            crate::lua::ffi::raw::luaL_openlibs(raw);
            Some(Self { raw: Cell::new(raw), heap })
        }
    }

    /// The main thread of the state.
    pub(in crate::lua::ffi) fn raw(&self) -> *mut lua_State {
        self.raw.get()
    }

    /// Closes it, running the finalizers that are left; nothing may use it afterwards. Its owner
    /// calls this before it drops whatever those finalizers may still reach through our API.
    pub fn close(&self) {
        let raw = self.raw.replace(std::ptr::null_mut());
        if !raw.is_null() {
            // SAFETY: the state is live and closed once.
            unsafe { crate::lua::ffi::raw::lua_close(raw) }
        }
    }

    /// Its memory.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.close();
    }
}
