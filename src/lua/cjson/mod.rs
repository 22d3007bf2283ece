//! `cjson` and `cjson.safe`: lua-cjson 2.1 with OpenResty's extensions, as part of the gateway.

mod decode;
mod encode;
mod settings;

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::Function;
use crate::lua::ffi::function::Library;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::function::push_bound;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Light;
use crate::lua::ffi::value::Null;
use crate::lua::ffi::value::Slot;
pub use settings::Settings;
use std::cell::OnceCell;
use std::cell::RefCell;

functions! {
    /// For the prelude.
    pub NATIVE "native" {
        cjson_new: ANY => new_module,
    }
}

functions! {
    /// What each instance of the module has.
    pub MODULE "" {
        encode: ANY => encode,
        decode: ANY => decode,
        new: ANY => new_module,
        encode_max_depth: ANY => settings::encode_max_depth,
        decode_max_depth: ANY => settings::decode_max_depth,
        encode_number_precision: ANY => settings::encode_number_precision,
        encode_sparse_array: ANY => settings::encode_sparse_array,
        encode_invalid_numbers: ANY => settings::encode_invalid_numbers,
        decode_invalid_numbers: ANY => settings::decode_invalid_numbers,
        encode_keep_buffer: ANY => settings::encode_keep_buffer,
        encode_empty_table_as_object: ANY => settings::encode_empty_table_as_object,
        decode_array_with_array_mt: ANY => settings::decode_array_with_array_mt,
        encode_escape_forward_slash: ANY => settings::encode_escape_forward_slash,
    }
}

/// Set in the number of an instance that answers `nil, error` (`cjson.safe`).
const SAFE: usize = 1 << 20;
/// Instances a VM at most: those that forget to keep the one they made share the last.
const MAX_INSTANCES: usize = 1024;

/// `cjson.empty_array` is this address.
static EMPTY_ARRAY: u8 = 0;

/// What the instances of one VM have.
#[derive(Debug, Default)]
pub struct Instances {
    settings: RefCell<Vec<Settings>>,
    marks: OnceCell<Marks>,
}

/// The metatables that mark arrays.
#[derive(Debug)]
struct Marks {
    array: Anchor,
    array_address: usize,
    empty_array: Anchor,
    empty_array_address: usize,
}

/// `cjson.new()`; bound to [`SAFE`] it makes a safe one, as does a true argument of the prelude.
fn new_module(call: &Call<'_>) -> ApiResult {
    let stack = call.stack();
    let instances = call.vm().cjson();
    let marks = instances.marks.get_or_init(|| {
        let mark = || {
            let table = stack.new_table(0, 0);
            let address = stack.address(table.index());
            stack.push_copy(table.index());
            (stack.anchor(), address)
        };
        let ((array, array_address), (empty_array, empty_array_address)) = (mark(), mark());
        Marks { array, array_address, empty_array, empty_array_address }
    });
    let mut settings = instances.settings.borrow_mut();
    if settings.len() < MAX_INSTANCES {
        settings.push(Settings::default());
    }
    let is_safe = call.bound() & SAFE != 0 || call.boolean(1);
    let number = (settings.len() - 1) | if is_safe { SAFE } else { 0 };
    drop(settings);
    let module = stack.new_table(0, 24);
    bind(call, &module, &MODULE, number);
    module.set("null", Null);
    module.set("empty_array", Light(std::ptr::from_ref(&EMPTY_ARRAY) as usize));
    module.set("array_mt", &marks.array);
    module.set("empty_array_mt", &marks.empty_array);
    module.set("_NAME", if is_safe { "cjson.safe" } else { "cjson" });
    module.set("_VERSION", "2.1.0.10");
    call.reply(&module)
}

fn bind(call: &Call<'_>, module: &Table<'_>, library: &'static Library, number: usize) {
    let functions: &'static [Function] = library.functions;
    for function in functions {
        push_bound(&call.stack(), call.vm(), function, number);
        let made = Slot(call.stack().top());
        module.set(function.name, made);
    }
}

/// Runs `body` with the settings of the instance.
fn with_settings<T>(call: &Call<'_>, body: impl FnOnce(&mut Settings) -> T) -> T {
    let mut all = call.vm().cjson().settings.borrow_mut();
    body(&mut all[call.bound() & !SAFE])
}

/// # Errors
/// Not exactly one argument.
fn one_argument(call: &Call<'_>) -> Result<(), ApiError> {
    if call.count() == 1 { Ok(()) } else { Err(ApiError::argument(1, "expected 1 argument")) }
}

/// A fault: raised, or returned by a safe instance.
fn fault(call: &Call<'_>, text: String) -> ApiResult {
    if call.bound() & SAFE != 0 { call.reply((None::<bool>, text)) } else { Err(text.into()) }
}

fn encode(call: &Call<'_>) -> ApiResult {
    one_argument(call)?;
    let settings = with_settings(call, |it| it.clone());
    let marks = call.vm().cjson().marks.get().expect("an instance is there");
    match encode::encode(&settings, marks, &call.value(1)) {
        Ok(text) => call.reply(text),
        Err(text) => fault(call, text),
    }
}

fn decode(call: &Call<'_>) -> ApiResult {
    one_argument(call)?;
    let text = call.bytes(1)?;
    let settings = with_settings(call, |it| it.clone());
    match decode::decode(&settings, text) {
        Ok(value) => {
            let marks = call.vm().cjson().marks.get().expect("an instance is there");
            let mark = settings.decode_array_with_array_mt.then_some(&marks.array);
            call.reply(decode::Decoded { value: &value, mark })
        }
        Err(text) => fault(call, text),
    }
}

#[cfg(test)]
mod tests;
