//! `ngx.log` and `print`.

use crate::log::Level;
use crate::log::capture;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Slot;
use crate::lua::ffi::value::Value;
use std::ffi::c_int;

functions! {
    /// `ngx.log`.
    pub NGX "ngx" {
        log: ANY => log,
    }
}

functions! {
    /// `print`, which OpenResty sends to the error log.
    pub GLOBALS "_G" {
        print: ANY => print,
    }
}

functions! {
    /// For `ngx.errlog`.
    pub NATIVE "native" {
        captured_logs: ANY => captured_logs,
        set_filter_level: ANY => set_filter_level,
        raw_log: ANY => raw_log,
        log_level: ANY => log_level,
    }
}

const NO_CAPTURE: &str = "directive \"lua_capture_error_log\" is not set";

/// `captured_logs(most)`: level, time and text of each line in one array.
fn captured_logs(call: &Call<'_>) -> ApiResult {
    let most = usize::try_from(call.integer(1)?).unwrap_or(0);
    let Some(lines) = capture::take(most) else {
        return call.reply((None::<bool>, NO_CAPTURE));
    };
    let mut flat = Vec::with_capacity(3 * lines.len());
    for line in lines {
        flat.push(Owned::Number(f64::from(line.level as u8)));
        flat.push(Owned::Number(line.time_s));
        flat.push(Owned::Bytes(line.text.into_vec()));
    }
    call.reply(Owned::Array(flat))
}

/// `set_filter_level(level)`.
fn set_filter_level(call: &Call<'_>) -> ApiResult {
    let number = call.integer(1)?;
    let Some(level) = u8::try_from(number).ok().and_then(Level::from_number) else {
        return call.reply((None::<bool>, format!("bad log level: {number}")));
    };
    if capture::set_filter(level) {
        return call.reply(true);
    }
    call.reply((None::<bool>, NO_CAPTURE))
}

/// `raw_log(level, message)`: without prefix.
fn raw_log(call: &Call<'_>) -> ApiResult {
    let Value::Number(number) = call.value(1) else { return Err("bad log level".into()) };
    let level = Level::from_number(number as u8).ok_or(ApiError::from("bad log level"))?;
    if call.vm().logs(level) {
        call.vm().log(level, call.tostring(2)?);
    }
    call.reply(())
}

/// The least grave level that is written now.
fn log_level(call: &Call<'_>) -> ApiResult {
    let level = Level::ALL.into_iter().rev().find(|&level| call.vm().logs(level));
    call.reply(level.map(|level| level as i32))
}

/// `ngx.log(level, …)`.
fn log(call: &Call<'_>) -> ApiResult {
    let number = call.integer(1)?;
    let level = u8::try_from(number).ok().and_then(Level::from_number);
    let level = level.ok_or_else(|| ApiError::argument(1, format!("bad log level: {number}")))?;
    write(call, level, 2)
}

/// `print(…)`: `ngx.log(ngx.NOTICE, …)`.
fn print(call: &Call<'_>) -> ApiResult {
    write(call, Level::Notice, 1)
}

fn write(call: &Call<'_>, level: Level, first: c_int) -> ApiResult {
    if call.vm().logs(level) {
        let mut message = prefix(call);
        for index in first..=call.count() as c_int {
            append(call, index, first, &mut message)?;
        }
        call.vm().log(level, &message);
    }
    call.reply(())
}

/// `[lua] content_by_lua(nginx.conf:40):3: func(): `; of a file only the last part of its path.
fn prefix(call: &Call<'_>) -> Vec<u8> {
    let caller = call.caller();
    let file = caller.source.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut prefix = format!("[lua] {file}:{}: ", caller.line);
    if let Some(name) = caller.name {
        prefix.push_str(&name);
        prefix.push_str("(): ");
    }
    prefix.into_bytes()
}

/// Appends one argument as OpenResty writes it.
fn append(call: &Call<'_>, index: c_int, first: c_int, out: &mut Vec<u8>) -> Result<(), ApiError> {
    let shown = index - first + 1;
    match call.value(index) {
        Value::Nil => out.extend_from_slice(b"nil"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Bytes(_) | Value::Number(_) => out.extend_from_slice(call.bytes(index)?),
        Value::Light(0) => out.extend_from_slice(b"null"),
        Value::Table(table) => {
            let method = table.metatable().map(|meta| meta.get("__tostring").kind());
            if !matches!(method, Some(kind) if kind != Kind::Nil) {
                let text = "expected table to have __tostring metamethod";
                return Err(ApiError::argument(shown, text));
            }
            let function = Slot(call.stack().top());
            call.stack().push((function, Slot(index)));
            call.invoke(1, 1)?;
            out.extend_from_slice(call.stack().text(-1).unwrap_or_default());
        }
        other => {
            let got = other.kind().name();
            let text = format!("string, number, boolean, or nil expected, got {got}");
            return Err(ApiError::argument(shown, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::log::ring;
    use crate::lua::fixture::eval;
    use crate::lua::fixture::eval_in;
    use crate::lua::fixture::vm_with;

    #[test]
    fn what_was_logged_can_be_taken() {
        let code = "local e = require 'ngx.errlog' \
                    if not e.get_logs() then return e.get_logs() end \
                    e.set_filter_level(ngx.WARN) \
                    e.raw_log(ngx.NOTICE, 'quiet') e.raw_log(ngx.ERR, 'loud') \
                    local t = {1, 2, 3, 4, 5, 6} local logs = e.get_logs(10, t) \
                    return logs == t, #logs, logs[1], type(logs[2]), logs[3]:match('loud'), \
                    e.set_filter_level(99)";
        let set = vm_with(|it| it.capture_error_log_bytes = 4096);
        let got = eval_in(&set, code);
        assert_eq!(got, "true | 3 | 4 | number | loud | nil | bad log level: 99");
        let unset = eval(code);
        assert_eq!(unset, "nil | directive \"lua_capture_error_log\" is not set");
    }

    fn logged(code: &str) -> Vec<String> {
        let result = eval(code);
        assert_eq!(result, "", "{code}");
        ring::recent()
    }

    #[test]
    fn a_line_names_chunk_line_and_function() {
        let lines = logged(
            "local function hh() ngx.log(ngx.WARN, 'in hh 4711 ', nil, true, 1.5, ngx.null,
             setmetatable({}, {__tostring = function() return 'tostr' end})) end
             hh() ngx.log(ngx.ERR, 'a4711', 'b')",
        );
        let has = |part: &str| lines.iter().any(|line| line.contains(part));
        assert!(
            has("[warn] ")
                && has(
                    "[lua] content_by_lua(nginx.conf:1):1: hh(): in hh 4711 niltrue1.5nulltostr"
                ),
            "{lines:?}"
        );
        assert!(has("[lua] content_by_lua(nginx.conf:1):3: a4711b"), "{lines:?}");
    }

    #[test]
    fn arguments_that_cannot_be_written_are_refused() {
        for (code, expected) in [
            (
                "return pcall(ngx.log)",
                "false | bad argument #1 to '?' (number expected, got no value)",
            ),
            (
                "return pcall(ngx.log, 100, 1)",
                "false | bad argument #1 to '?' (bad log level: 100)",
            ),
            (
                "return pcall(ngx.log, ngx.ERR, {})",
                "false | bad argument #1 to '?' (expected table to have __tostring metamethod)",
            ),
            (
                "return pcall(ngx.log, ngx.ERR, print)",
                "false | bad argument #1 to '?' \
                 (string, number, boolean, or nil expected, got function)",
            ),
        ] {
            assert_eq!(eval(code), expected, "{code}");
        }
    }
}
