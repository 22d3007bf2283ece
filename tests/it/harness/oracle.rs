//! The oracle: Debian's nginx with lua-nginx-module and the modules that OpenResty has beside it.

use std::path::{Path, PathBuf};

const MODULES: &str = "/usr/lib/nginx/modules";

/// nginx's modules, in the order in which OpenResty's filters stand.
const NAMES: [&str; 6] = [
    "ndk_http",
    "ngx_http_echo",
    "ngx_http_set_misc",
    "ngx_http_lua",
    "ngx_http_headers_more_filter",
    "ngx_http_memc",
];

/// The lines of a configuration that load its modules.
pub fn modules() -> String {
    NAMES.map(|it| format!("load_module {MODULES}/{it}_module.so; ")).concat()
}

/// Debian's nginx.
///
/// # Panics
/// When it or its Lua module is not installed: a comparison with nothing would pass.
pub fn program() -> PathBuf {
    let module = Path::new(MODULES).join("ngx_http_lua_module.so");
    assert!(
        Path::new("/usr/sbin/nginx").exists() && module.exists(),
        "these tests compare with nginx and its Lua module; install them by\n\
         apt-get install -y nginx libnginx-mod-http-lua lua-cjson"
    );
    "/usr/sbin/nginx".into()
}

/// How its `http` block begins. Folders of Debian's defaults belong to root; these are the test's.
pub const HTTP: &str = "http { client_body_temp_path tmp/body; proxy_temp_path tmp/proxy; \
     fastcgi_temp_path tmp/fastcgi; uwsgi_temp_path tmp/uwsgi; scgi_temp_path tmp/scgi; ";
