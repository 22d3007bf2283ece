//! LuaJIT's C functions as this module calls them: mlua's declarations, and those that mlua leaves
//! out or wraps in another shape.

pub use mlua::ffi::{
    LUA_ERRMEM, LUA_GCCOLLECT, LUA_MASKCALL, LUA_MASKCOUNT, LUA_MASKRET, LUA_OK, LUA_REGISTRYINDEX,
    LUA_TBOOLEAN, LUA_TCDATA, LUA_TFUNCTION, LUA_TLIGHTUSERDATA, LUA_TNIL, LUA_TNUMBER,
    LUA_TSTRING, LUA_TTABLE, LUA_TTHREAD, LUA_TUSERDATA, LUA_YIELD, lua_Debug, lua_State,
    lua_checkstack, lua_close, lua_createtable, lua_error, lua_gc, lua_getinfo, lua_getmetatable,
    lua_getstack, lua_gettop, lua_isstring, lua_newstate, lua_newthread, lua_next, lua_objlen,
    lua_pcall, lua_pushboolean, lua_pushcclosure, lua_pushlightuserdata, lua_pushnil,
    lua_pushnumber, lua_pushvalue, lua_rawset, lua_remove, lua_replace, lua_sethook,
    lua_setmetatable, lua_settop, lua_toboolean, lua_tolstring, lua_topointer, lua_touserdata,
    lua_type, lua_upvalueindex, lua_yield, luaL_openlibs, luaL_ref, luaL_unref, luaL_where,
};
use std::ffi::c_char;
use std::ffi::c_int;

unsafe extern "C-unwind" {
    /// LuaJIT's own resume of two arguments; mlua's has Lua 5.4's shape.
    #[link_name = "lua_resume"]
    pub fn resume(state: *mut lua_State, arguments: c_int) -> c_int;
    /// 0 when a C frame stands between `state`'s top and its resume.
    #[link_name = "lua_isyieldable"]
    pub fn isyieldable(state: *mut lua_State) -> c_int;
    /// The interpreter's own traceback, which mlua replaces for Lua 5.1.
    #[link_name = "luaL_traceback"]
    pub fn traceback(
        state: *mut lua_State,
        of: *mut lua_State,
        message: *const c_char,
        level: c_int,
    );
    /// Loads text or bytecode, as `mode` allows.
    #[link_name = "luaL_loadbufferx"]
    pub fn loadbufferx(
        state: *mut lua_State,
        code: *const c_char,
        length: usize,
        name: *const c_char,
        mode: *const c_char,
    ) -> c_int;
    /// Pushes a string of `length` bytes.
    #[link_name = "lua_pushlstring"]
    pub fn pushlstring(state: *mut lua_State, bytes: *const c_char, length: usize);
    /// Pushes `table[key]` for the key on top, which it replaces.
    #[link_name = "lua_rawget"]
    pub fn rawget(state: *mut lua_State, index: c_int);
    /// Pushes `table[n]`.
    #[link_name = "lua_rawgeti"]
    pub fn rawgeti(state: *mut lua_State, index: c_int, n: c_int);
    /// The number at `index`; `is_number` tells whether there is one.
    #[link_name = "lua_tonumberx"]
    pub fn tonumberx(state: *mut lua_State, index: c_int, is_number: *mut c_int) -> f64;
    /// The integer at `index`, truncated from its number.
    #[link_name = "lua_tointegerx"]
    pub fn tointegerx(state: *mut lua_State, index: c_int, is_number: *mut c_int) -> isize;
}
