//! Which OpenSSL the process runs with: the system's, the one that it is linked to.

use std::ffi::{CStr, c_char, c_int};

/// `OPENSSL_VERSION`: the whole text.
const TEXT: c_int = 0;

unsafe extern "C" {
    fn OpenSSL_version(what: c_int) -> *const c_char;
}

/// `OpenSSL 3.0.22 25 Aug 2026`.
pub fn version() -> String {
    // SAFETY: takes a number; what it returns is a C string that lives as long as the library.
    let text = unsafe { OpenSSL_version(TEXT).as_ref().map(|it| CStr::from_ptr(it)) };
    text.unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_openssl_3() {
        let version = super::version();
        assert!(version.starts_with("OpenSSL 3."), "{version}");
    }
}
