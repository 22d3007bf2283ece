//! crypt(3): the system's hashes of passwords.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

#[link(name = "crypt")]
unsafe extern "C" {
    fn crypt_ra(
        phrase: *const c_char,
        setting: *const c_char,
        room: *mut *mut c_void,
        size: *mut c_int,
    ) -> *mut c_char;
}

/// `password` hashed as `setting`, a hash or its beginning, says; `None` where the system does not
/// know its kind. Some kinds take a tenth of a second or more.
pub fn crypt(password: &[u8], setting: &[u8]) -> Option<Vec<u8>> {
    let password = CString::new(password).ok()?;
    let setting = CString::new(setting).ok()?;
    let mut room: *mut c_void = std::ptr::null_mut();
    let mut size: c_int = 0;
    // SAFETY: both texts live for the call and end with NUL; the library allocates `room`, which is
    // ours until it is freed below.
    let hash = unsafe { crypt_ra(password.as_ptr(), setting.as_ptr(), &mut room, &mut size) };
    let hash = (!hash.is_null()).then(|| {
        // SAFETY: what it returns lies in `room`, which still lives, and ends with NUL.
        unsafe { CStr::from_ptr(hash) }.to_bytes().to_vec()
    });
    // SAFETY: allocated by the library with malloc, or null.
    unsafe { libc::free(room) };
    // A failure may be a text that no hash begins with.
    hash.filter(|it| !it.starts_with(b"*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_the_system_are_known() {
        // As `openssl passwd -5 -salt saltstring` says.
        let hash = crypt(b"Hello world!", b"$5$saltstring").unwrap();
        assert_eq!(hash, b"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
        assert_eq!(crypt(b"x", b"*0"), None);
        assert_eq!(crypt(b"a\0b", b"$5$saltstring"), None);
    }
}
