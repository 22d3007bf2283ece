//! The process's environment: `env NAME[=VALUE]`.

use std::ffi::OsString;

/// Kept without being named: nginx keeps `TZ`; the others are for the loader, for OpenSSL (which
/// nginx has read its own before) and for Rust.
const KEPT: [&str; 5] =
    ["TZ", "LD_LIBRARY_PATH", "OPENSSL_CONF", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];

/// Whether `name` stays when the configuration names `named`.
fn stays(name: &OsString, named: &[(String, Option<String>)]) -> bool {
    let same = |it: &str| name.as_os_str() == it;
    KEPT.iter().any(|it| same(it)) || named.iter().any(|(it, _)| same(it))
}

/// Removes every variable but those that are `named` and a few that programs need, and sets those
/// that have a value. While the process has one thread, at start.
pub fn keep(named: &[(String, Option<String>)]) {
    let known: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in known.iter().filter(|it| !stays(it, named)) {
        // SAFETY: the caller runs while there is one thread: nobody else reads the environment.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in named {
        let valid = !name.is_empty() && !name.contains(['=', '\0']);
        if let Some(value) = value.as_ref().filter(|it| valid && !it.contains('\0')) {
            // SAFETY: as above.
            unsafe { std::env::set_var(name, value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_or_needed_stays() {
        let named = [("PATH".to_owned(), None), ("KEY".to_owned(), Some("1".to_owned()))];
        let stays = |name: &str| stays(&name.into(), &named);
        assert!(stays("PATH") && stays("KEY") && stays("TZ") && stays("OPENSSL_CONF"));
        assert!(!stays("HOME") && !stays("PAT") && !stays(""));
    }
}
