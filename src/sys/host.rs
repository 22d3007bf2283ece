//! This machine's name.

use std::ffi::CStr;

/// The host's name as `hostname` prints it; `localhost` when the system does not say.
pub fn name() -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: the pointer and the length are those of a live buffer; one byte stays a NUL.
    let code = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len() - 1) };
    let name = CStr::from_bytes_until_nul(&buffer).ok().filter(|_| code == 0);
    name.map_or("localhost".into(), |it| it.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_is_the_kernel_s() {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(super::name(), kernel.trim());
    }
}
