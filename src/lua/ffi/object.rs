//! Rust values that Lua holds: a full userdata that owns an `Rc`, let go by the garbage collector.

use crate::lua::ffi::raw::lua_State;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Push;
use mlua::ffi;
use std::any::Any;
use std::ffi::c_int;
use std::ffi::c_void;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::rc::Rc;

/// Tells our userdata from those of C modules.
static MARK: u8 = 0;

/// What the userdata holds. The value is gone once it was collected.
#[repr(C)]
struct Cell {
    mark: usize,
    value: Option<Rc<dyn Any>>,
}

fn mark() -> usize {
    std::ptr::from_ref(&MARK) as usize
}

/// A value on its way to Lua.
#[derive(Debug)]
pub struct Object(pub Rc<dyn Any>);

impl Push for Object {
    fn push(self, stack: &Stack<'_>) -> usize {
        stack.push_nil();
        stack.push_nil();
        let state = stack.raw();
        // SAFETY: two slots are there (the nils); the heap is not strict, so that nothing is
        // raised. The userdata is aligned for pointers, large enough, and written before anything
        // else may look at it; the metatable that drops it is set at once.
        unsafe {
            ffi::lua_settop(state, -3);
            let cell = ffi::lua_newuserdata(state, size_of::<Cell>()).cast::<Cell>();
            cell.write(Cell { mark: mark(), value: Some(self.0) });
            ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, mark() as *const c_void);
            if ffi::lua_type(state, -1) != ffi::LUA_TTABLE {
                ffi::lua_settop(state, -2);
                make_metatable(state);
            }
            ffi::lua_setmetatable(state, -2);
        }
        1
    }
}

/// Pushes the metatable of all objects of this VM, made now.
///
/// # Safety
/// `state` is live, not strict, with room for a value.
unsafe fn make_metatable(state: *mut lua_State) {
    // SAFETY: the caller's promise; room for the rest is made first.
    unsafe {
        ffi::lua_checkstack(state, 4);
        ffi::lua_createtable(state, 0, 1);
        ffi::lua_pushcclosure(state, collect, 0);
        ffi::lua_setfield(state, -2, c"__gc".as_ptr());
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, mark() as *const c_void);
    }
}

/// `__gc`.
///
/// # Safety
/// Called by LuaJIT with one argument, which a script may have chosen.
unsafe extern "C-unwind" fn collect(state: *mut lua_State) -> c_int {
    // SAFETY: the argument is looked at before it is taken for ours; what is taken out is `None`
    // from then on. A panic of a destructor ends here.
    unsafe {
        if let Some(cell) = cell(state, 1) {
            let value = (*cell).value.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
        }
        0
    }
}

/// The cell of the userdata at `index`, if it is one of ours.
///
/// # Safety
/// `state` is live.
unsafe fn cell(state: *mut lua_State, index: c_int) -> Option<*mut Cell> {
    // SAFETY: any acceptable index may be asked for; a full userdata of this size whose first word
    // is our mark was made by `push`.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TUSERDATA
            || ffi::lua_rawlen(state, index) != size_of::<Cell>()
        {
            return None;
        }
        let cell = ffi::lua_touserdata(state, index).cast::<Cell>();
        ((*cell).mark == mark()).then_some(cell)
    }
}

impl Stack<'_> {
    /// The object of type `T` in slot `index`, if there is one.
    pub fn object<T: 'static>(&self, index: c_int) -> Option<Rc<T>> {
        if self.kind(index) != Kind::Userdata {
            return None;
        }
        // SAFETY: the state is live; the cell lives while its slot does, and is only read.
        let value = unsafe { (*cell(self.raw(), index)?).value.clone()? };
        value.downcast().ok()
    }
}
