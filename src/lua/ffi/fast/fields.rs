//! The halves of `ngx.var`, `ngx.header` and of other fields of the request that runs.

use crate::lua::ffi::fast::{Answer, OTHER, Text, guarded, of_client};
use crate::lua::ngx::magic;
use crate::lua::ngx::req_header;
use crate::lua::ngx::resp_header;
use crate::lua::ngx::var;
use crate::lua::vm::Vm;
use std::ffi::c_int;

/// What the prelude calls.
pub fn addresses() -> [(&'static str, usize); 8] {
    [
        ("var_get", var_get as *const () as usize),
        ("var_set", var_set as *const () as usize),
        ("header_get", header_get as *const () as usize),
        ("header_set", header_set as *const () as usize),
        ("request_header_set", request_header_set as *const () as usize),
        ("status", status as *const () as usize),
        ("method", method as *const () as usize),
        ("phase", phase as *const () as usize),
    ]
}

/// `ngx.var.NAME` of a name that was asked for before: 1 and the value, or 0.
///
/// # Safety
/// `vm` and `answer` are live, `name` is a live string of Lua's.
unsafe extern "C" fn var_get(vm: *const Vm, name: *const u8, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    let (vm, answer) = unsafe { (&*vm, &mut *answer) };
    guarded(|| {
        of_client(vm, |request| {
            let scratch = &vm.api().scratch;
            let mut value = scratch.take();
            value.clear();
            let found = var::read_known(vm, request, name as usize, &mut value);
            let code = match found {
                Some(false) => 0,
                Some(true) if answer.put(&value) => 1,
                _ => OTHER,
            };
            if value.capacity() <= answer.text.len() {
                scratch.set(value);
            }
            code
        })
    })
}

/// `ngx.var.NAME = value` of a name that was asked for before: 0 where it is done.
///
/// # Safety
/// As [`var_get`]; `value` has so many bytes.
unsafe extern "C" fn var_set(
    vm: *const Vm,
    name: *const u8,
    value: *const u8,
    length: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let (vm, value) = unsafe { (&*vm, Text { at: value, length }.bytes()) };
    guarded(|| {
        of_client(vm, |request| {
            let is_done = var::write_known(vm, request, name as usize, value);
            if is_done { 0 } else { OTHER }
        })
    })
}

/// `ngx.header[name]`: 1 and the value, or 0; several, and fields with a place of their own, are
/// the function's.
///
/// # Safety
/// `vm` and `answer` are live, `name` has so many bytes.
unsafe extern "C" fn header_get(
    vm: *const Vm,
    name: *const u8,
    length: usize,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: the caller's promise.
    let (vm, name, answer) = unsafe { (&*vm, Text { at: name, length }.bytes(), &mut *answer) };
    guarded(|| {
        of_client(vm, |request| {
            if !resp_header::is_plain(name) {
                return OTHER;
            }
            let head = request.response.borrow();
            let mut values = head.headers.all(name);
            match (values.next(), values.next()) {
                (None, _) => 0,
                (Some(value), None) if answer.put(value) => 1,
                _ => OTHER,
            }
        })
    })
}

/// `ngx.header[name] = value`: 0 where it is done.
///
/// # Safety
/// `vm` is live, the texts have so many bytes.
unsafe extern "C" fn header_set(
    vm: *const Vm,
    name: *const u8,
    name_length: usize,
    value: *const u8,
    value_length: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let (vm, name, value) = unsafe {
        let value = Text { at: value, length: value_length };
        (&*vm, Text { at: name, length: name_length }.bytes(), value.bytes())
    };
    guarded(|| {
        of_client(vm, |request| {
            let is_done = resp_header::is_plain(name) && resp_header::put(request, name, value);
            if is_done { 0 } else { OTHER }
        })
    })
}

/// `ngx.req.set_header(name, value)`: 0 where it is done.
///
/// # Safety
/// As [`header_set`].
unsafe extern "C" fn request_header_set(
    vm: *const Vm,
    name: *const u8,
    name_length: usize,
    value: *const u8,
    value_length: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let (vm, name, value) = unsafe {
        let value = Text { at: value, length: value_length };
        (&*vm, Text { at: name, length: name_length }.bytes(), value.bytes())
    };
    guarded(|| {
        of_client(vm, |request| {
            let is_done = req_header::set_plain(request, name, value);
            if is_done { 0 } else { OTHER }
        })
    })
}

/// `ngx.status`.
///
/// # Safety
/// `vm` is live.
unsafe extern "C" fn status(vm: *const Vm) -> c_int {
    // SAFETY: the caller's promise.
    let vm = unsafe { &*vm };
    guarded(|| of_client(vm, |request| c_int::from(magic::status_of(request))))
}

/// `ngx.req.get_method()`: the place of its name in [`METHODS`], from 1 on; 0, and its name.
///
/// # Safety
/// As [`var_get`].
unsafe extern "C" fn method(vm: *const Vm, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    let (vm, answer) = unsafe { (&*vm, &mut *answer) };
    guarded(|| {
        of_client(vm, |request| {
            let name = &request.method.borrow()[..];
            match METHODS.iter().position(|it| it.as_bytes() == name) {
                Some(place) => place as c_int + 1,
                None if answer.put(name) => 0,
                None => OTHER,
            }
        })
    })
}

/// Methods that the prelude knows by their numbers, in its order.
const METHODS: [&str; 3] = ["GET", "POST", "HEAD"];

/// The number of the phase that runs, for `ngx.get_phase()`.
///
/// # Safety
/// `vm` is live.
unsafe extern "C" fn phase(vm: *const Vm) -> c_int {
    // SAFETY: the caller's promise.
    let vm = unsafe { &*vm };
    guarded(|| vm.phase() as c_int)
}
