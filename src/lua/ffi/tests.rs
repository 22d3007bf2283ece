//! The executable exports the Lua C API, and C modules find it.

use crate::lua::fixture::eval_in;
use crate::lua::fixture::vm_with;
use std::ffi::CString;

#[test]
fn the_whole_lua_api_is_exported() {
    let names: Vec<_> = include_str!("exports.txt").lines().collect();
    assert!(names.len() > 140, "{}", names.len());
    for name in names {
        let symbol = CString::new(name).unwrap();
        // SAFETY: asks for an address by name.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) };
        assert!(!address.is_null(), "{name} is not exported");
    }
}

/// Debian's lua-cjson and lua-lpeg, where they are installed.
#[test]
fn c_modules_load_from_lua_package_cpath() {
    let folder = "/usr/lib/x86_64-linux-gnu/lua/5.1";
    if !std::path::Path::new(folder).join("lpeg.so").exists() {
        return;
    }
    let vm = vm_with(|options| options.package_cpath = Some(format!("{folder}/?.so;;")));
    let code = "local lpeg = require 'lpeg' return lpeg.match(lpeg.R'az' ^ 1, 'abc1')";
    assert_eq!(eval_in(&vm, code), "4");
}
