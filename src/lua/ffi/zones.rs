//! Shared dictionaries for C: `ngx_http_lua_find_zone` and `ngx_http_lua_shared_dict_get`, by which
//! libraries read `ngx.shared` through LuaJIT's ffi.

use crate::clock;
use crate::shdict::Dict;
use crate::shdict::Dicts;
use crate::shdict::Value;
use std::cell::RefCell;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::sync::Arc;

/// nginx's `NGX_OK`, `NGX_ERROR` and `NGX_DECLINED`.
const OK: isize = 0;
const ERROR: isize = -1;
const DECLINED: isize = -5;

/// Lua's types as numbers, which `Found::kind` has.
const BOOLEAN: u8 = 1;
const NUMBER: u8 = 3;
const TEXT: u8 = 4;

thread_local! {
    /// The dictionaries of this thread's youngest VM.
    static ZONES: RefCell<Dicts> = RefCell::default();
}

/// Makes `dicts` those that C finds on this thread.
pub fn show(dicts: &Dicts) {
    ZONES.set(dicts.clone());
}

/// `ngx_http_lua_value_t`.
#[repr(C)]
pub struct Found {
    kind: u8,
    value: FoundValue,
}

#[repr(C)]
union FoundValue {
    boolean: c_int,
    number: f64,
    text: FoundText,
}

/// Where a text goes: room before the call, what is there behind it.
#[repr(C)]
#[derive(Clone, Copy)]
struct FoundText {
    length: usize,
    bytes: *mut c_char,
}

/// The dictionary of that name, null where there is none.
///
/// # Safety
/// `length` bytes can be read at `name`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_find_zone(name: *const u8, length: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    let name = unsafe { std::slice::from_raw_parts(name, length) };
    ZONES.with_borrow(|zones| {
        let found = std::str::from_utf8(name).ok().and_then(|it| zones.get(it));
        found.map_or(std::ptr::null_mut(), |it| Arc::as_ptr(it).cast_mut().cast())
    })
}

/// What `key` has in `zone`: 0 with `found` filled, -5 where there is nothing, -1 for a zone that
/// is none, a value that is none of the three, and a text that has no room.
///
/// # Safety
/// `key_length` bytes can be read at `key`; `found` can be written, and says how much room a text
/// has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_shared_dict_get(
    zone: *mut c_void,
    key: *const u8,
    key_length: usize,
    found: *mut Found,
) -> isize {
    let is_it = |it: &&Arc<Dict>| std::ptr::eq(Arc::as_ptr(it).cast(), zone.cast_const());
    let dict = ZONES.with_borrow(|zones| zones.iter().map(|it| it.1).find(is_it).cloned());
    let Some(dict) = dict else { return ERROR };
    // SAFETY: the caller's promise.
    let (key, found) = unsafe { (std::slice::from_raw_parts(key, key_length), &mut *found) };
    match dict.get_with(key, clock::cached_ms(), |value, _| write(&value, found)) {
        Ok(Some(true)) => OK,
        Ok(None) => DECLINED,
        Ok(Some(false)) | Err(_) => ERROR,
    }
}

/// Whether there was room for `value`.
fn write(value: &Value<'_>, found: &mut Found) -> bool {
    match value {
        Value::Boolean(yes) => {
            found.kind = BOOLEAN;
            found.value.boolean = c_int::from(*yes);
        }
        Value::Number(number) => {
            found.kind = NUMBER;
            found.value.number = *number;
        }
        Value::Text(text) => {
            // SAFETY: whoever wants a text has said where it goes and how long it may be.
            let room = unsafe { found.value.text };
            if room.length < text.len() {
                return false;
            }
            // SAFETY: as said; a dictionary's text is not where a caller could write.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr(), room.bytes.cast(), text.len());
            }
            found.kind = TEXT;
            found.value.text = FoundText { length: text.len(), bytes: room.bytes };
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::eval_in;
    use crate::lua::fixture::vm_with;
    use crate::shdict::Dicts;

    #[test]
    fn ffi_finds_dictionaries_and_values() {
        let dicts = Dicts::default().reloaded([("dogs", 1 << 20)]);
        let vm = vm_with(|options| options.dicts = dicts);
        let code = "local ffi = require 'ffi' ffi.cdef [[
            typedef struct { size_t len; char *data; } ngx_str_t;
            typedef struct { uint8_t type; union { int b; double n; ngx_str_t s; } value; } found_t;
            void *ngx_http_lua_find_zone(const char *, size_t);
            intptr_t ngx_http_lua_shared_dict_get(void *, const char *, size_t, found_t *); ]]
            local C, found, room = ffi.C, ffi.new 'found_t', ffi.new 'char[5]'
            local dogs, said = ngx.shared.dogs, {}
            dogs:set('yes', true) dogs:set('two', 2.5)
            dogs:set('text', 'hello') dogs:lpush('list', 1)
            local zone = C.ngx_http_lua_find_zone('dogs', 4)
            local function get(key, size, at)
                found.value.s.len, found.value.s.data = size, room
                local rc = C.ngx_http_lua_shared_dict_get(at or zone, key, #key, found)
                return tonumber(rc), rc == 0 and found.type
            end
            local function say(...) said[#said + 1] = table.concat({ ... }, ' ') end
            local function words(...) return tostring(...), tostring(select(2, ...)) end
            say(words(get('yes', 5))) say(found.value.b)
            say(words(get('two', 5))) say(found.value.n)
            say(words(get('text', 5))) say(ffi.string(room, found.value.s.len))
            say(words(get('text', 4))) say(words(get('gone', 5))) say(words(get('list', 5)))
            say(words(get('yes', 5, ffi.cast('void *', room))))
            say(tostring(C.ngx_http_lua_find_zone('cats', 4) == nil))
            return table.concat(said, ', ')";
        let expected = "0 1, 1, 0 3, 2.5, 0 4, hello, -1 false, -5 false, -1 false, -1 false, true";
        assert_eq!(eval_in(&vm, code), expected);
    }
}
