//! `ngx.time` and its kin: from the worker's cached clock, as in nginx.

use crate::clock;
use crate::clock::Civil;
use crate::http::date;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Value;
use std::cell::Cell;

functions! {
    /// The clock's functions.
    pub NGX "ngx" {
        time: ANY => time,
        now: ANY => now,
        update_time: ANY => update_time,
        today: ANY => today,
        localtime: ANY => localtime,
        utctime: ANY => utctime,
        http_time: ANY => http_time,
        cookie_time: ANY => cookie_time,
        parse_http_time: ANY => parse_http_time,
    }
}

fn time(call: &Call<'_>) -> ApiResult {
    call.reply(clock::cached_s())
}

fn now(call: &Call<'_>) -> ApiResult {
    call.reply(clock::cached_ms() as f64 / 1000.0)
}

fn update_time(call: &Call<'_>) -> ApiResult {
    clock::update();
    call.reply(())
}

fn today(call: &Call<'_>) -> ApiResult {
    let (unix, offset) = local();
    call.reply(date::today(unix, offset))
}

fn localtime(call: &Call<'_>) -> ApiResult {
    call.reply(&local_text()[..])
}

/// What `ngx.localtime` gives, `2026-11-23 12:00:00`; made once a second.
pub fn local_text() -> [u8; 19] {
    thread_local! {
        static MADE: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
    }
    let second = clock::cached_s();
    let (made, text) = MADE.get();
    if made == second {
        return text;
    }
    let (unix, offset) = local();
    let text = date::plain_bytes(unix, offset);
    MADE.set((second, text));
    text
}

fn utctime(call: &Call<'_>) -> ApiResult {
    call.reply(date::plain(clock::cached_s() as i64, 0))
}

fn local() -> (i64, i32) {
    let unix = clock::cached_s();
    (unix as i64, Civil::local(unix).offset_s)
}

fn http_time(call: &Call<'_>) -> ApiResult {
    let Value::Number(unix) = call.value(1) else { return Err("number argument only".into()) };
    call.reply(date::http(unix as i64))
}

fn cookie_time(call: &Call<'_>) -> ApiResult {
    let Value::Number(unix) = call.value(1) else { return Err("number argument only".into()) };
    call.reply(date::cookie(unix as i64))
}

fn parse_http_time(call: &Call<'_>) -> ApiResult {
    let Value::Bytes(text) = call.value(1) else { return Err("string argument only".into()) };
    call.reply(date::parse(text))
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::eval;

    #[test]
    fn times_are_written_and_read_as_nginx_does() {
        let cases = [
            ("return ngx.http_time(784111777)", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("return ngx.cookie_time(784111777)", "Sun, 06-Nov-94 08:49:37 GMT"),
            ("return ngx.parse_http_time('Sun, 06 Nov 1994 08:49:37 GMT')", "784111777"),
            ("return ngx.parse_http_time('yesterday')", "nil"),
            ("return pcall(ngx.http_time, 'x')", "false | number argument only"),
            ("return pcall(ngx.cookie_time)", "false | number argument only"),
            ("return pcall(ngx.parse_http_time, {})", "false | string argument only"),
            ("return #ngx.today(), #ngx.localtime(), #ngx.utctime()", "10 | 19 | 19"),
            ("ngx.update_time() return math.floor(ngx.now()) == ngx.time()", "true"),
        ];
        for (code, expected) in cases {
            assert_eq!(eval(code), expected, "{code}");
        }
    }
}
