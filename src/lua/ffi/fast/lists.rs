//! The halves of `ngx.shared`'s lists.

use crate::clock;
use crate::lua::ffi::fast::{Answer, OTHER, Text, guarded};
use crate::shdict::{Dict, End, Item};
use std::ffi::c_int;

/// What the prelude calls.
pub fn addresses() -> [(&'static str, usize); 2] {
    [
        ("shared_push", shared_push as *const () as usize),
        ("shared_pop", shared_pop as *const () as usize),
    ]
}

/// 0 is the left end, anything else the right one.
fn end(number: c_int) -> End {
    if number == 0 { End::Left } else { End::Right }
}

/// `dict:lpush`, `rpush` of `text`, or of `number` where that is null: how long the list is then.
///
/// # Safety
/// `dict` is live; `key` and `text` have so many bytes.
unsafe extern "C" fn shared_push(
    dict: *const Dict,
    key: *const u8,
    key_length: usize,
    at: c_int,
    text: *const u8,
    text_length: usize,
    number: f64,
) -> c_int {
    // SAFETY: the caller's promise: the prelude has them from the VM, and from strings of Lua's.
    let (dict, key) = unsafe { (&*dict, Text { at: key, length: key_length }.bytes()) };
    guarded(|| {
        let item = if text.is_null() {
            Item::Number(number)
        } else {
            // SAFETY: as above.
            Item::Text(unsafe { Text { at: text, length: text_length }.bytes() }.into())
        };
        let pushed = dict.push(key, end(at), item, clock::cached_ms());
        pushed.ok().and_then(|it| c_int::try_from(it).ok()).unwrap_or(OTHER)
    })
}

/// `dict:lpop`, `rpop`: 0 for nothing, 1 for a text, 2 for a number.
///
/// # Safety
/// `dict` and `answer` are live, `key` has so many bytes.
unsafe extern "C" fn shared_pop(
    dict: *const Dict,
    key: *const u8,
    key_length: usize,
    at: c_int,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: as `shared_push`.
    let (dict, key, answer) =
        unsafe { (&*dict, Text { at: key, length: key_length }.bytes(), &mut *answer) };
    guarded(|| {
        let mut code = 0;
        // What there is no room for stays, for the function of the API.
        let popped = dict.pop_if(key, end(at), clock::cached_ms(), |item| {
            code = match item {
                Item::Text(text) if answer.put(text) => 1,
                Item::Text(_) => OTHER,
                Item::Number(number) => {
                    answer.number = *number;
                    2
                }
            };
            code != OTHER
        });
        if popped.is_ok() { code } else { OTHER }
    })
}
