//! Who we say that we are: `-v` and `-V`.

use crate::snapshot::NGINX_VERSION;
use crate::sys::openssl;

/// What scripts that read `nginx -V` look for: what nginx would have been built with.
const CONFIGURE: &str = "--with-pcre-jit --without-http_fastcgi_module \
                         --without-http_scgi_module --without-http_uwsgi_module";

/// The line of `-v`; scripts that look for nginx's version find it.
pub fn version() -> String {
    format!("moongate version: moongate/{} (nginx/{NGINX_VERSION})", env!("CARGO_PKG_VERSION"))
}

/// The lines of `-V`.
pub fn build() -> String {
    let (version, openssl) = (version(), openssl::version());
    format!(
        "{version}\nbuilt with {openssl}\nTLS SNI support enabled\n\
         configure arguments: {CONFIGURE}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openresty_s_test_suite_finds_its_version() {
        let first = build().lines().next().unwrap().to_owned();
        let after = first.split_once("nginx/").unwrap().1;
        let version: Vec<_> = after.trim_end_matches(')').split('.').collect();
        assert_eq!(version, ["1", "22", "1"]);
        assert!(build().contains("\nbuilt with OpenSSL 3."));
    }
}
