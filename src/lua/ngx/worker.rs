//! `ngx.worker` and `ngx.config`.

use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Owned;

/// The nginx that scripts may count on.
pub const NGINX_VERSION: i32 = 1_022_001;
/// The lua-nginx-module that scripts may count on; lua-resty-core compares it.
pub const NGX_LUA_VERSION: i32 = 10_023;

functions! {
    /// `ngx.worker`.
    pub NGX_WORKER "ngx.worker" {
        id: ANY => id,
        pid: ANY => pid,
        pids: ANY => pids,
        count: ANY => count,
        exiting: ANY => exiting,
    }
}

functions! {
    /// The functions of `ngx.config`.
    pub NGX_CONFIG "ngx.config" {
        prefix: ANY => prefix,
        nginx_configure: ANY => nginx_configure,
    }
}

/// The constants of `ngx.config`.
pub fn set_constants(config: &Table<'_>) {
    config.set("subsystem", "http");
    config.set("debug", false);
    config.set("nginx_version", NGINX_VERSION);
    config.set("ngx_lua_version", NGX_LUA_VERSION);
    config.set("is_console", false);
}

fn id(call: &Call<'_>) -> ApiResult {
    call.reply(call.vm().options().worker_id)
}

fn pid(call: &Call<'_>) -> ApiResult {
    call.reply(std::process::id())
}

/// One process has all the workers.
fn pids(call: &Call<'_>) -> ApiResult {
    let pid = Owned::Number(f64::from(std::process::id()));
    call.reply(Owned::Array(vec![pid; call.vm().options().worker_count]))
}

fn count(call: &Call<'_>) -> ApiResult {
    call.reply(call.vm().options().worker_count)
}

fn exiting(call: &Call<'_>) -> ApiResult {
    call.reply(call.vm().timers().is_exiting())
}

/// The prefix, with its `/`.
fn prefix(call: &Call<'_>) -> ApiResult {
    let prefix = call.vm().options().prefix.to_string_lossy();
    call.reply(format!("{}/", prefix.trim_end_matches('/')))
}

fn nginx_configure(call: &Call<'_>) -> ApiResult {
    call.reply("--with-compat --with-http_ssl_module --with-http_v2_module --with-pcre-jit")
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::eval_in;
    use crate::lua::fixture::vm_with;

    #[test]
    fn a_script_sees_its_worker_and_what_it_may_count_on() {
        let vm = vm_with(|options| {
            options.worker_id = Some(1);
            options.worker_count = 2;
            options.prefix = "/srv/gate".into();
        });
        let cases = [
            ("return ngx.worker.id(), ngx.worker.count(), #ngx.worker.pids()", "1 | 2 | 2"),
            (
                "return ngx.worker.pids()[2] == ngx.worker.pid(), ngx.worker.exiting()",
                "true | false",
            ),
            (
                "return ngx.config.subsystem, ngx.config.nginx_version, ngx.config.ngx_lua_version",
                "http | 1022001 | 10023",
            ),
            ("return ngx.config.prefix(), ngx.config.debug", "/srv/gate/ | false"),
        ];
        for (code, expected) in cases {
            assert_eq!(eval_in(&vm, code), expected, "{code}");
        }
    }
}
