//! `ngx.re`: match, find and template substitution natively; what calls back or iterates is
//! `prelude/re.lua`, so that callbacks may wait.

use crate::log::Level;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Value;
use crate::regex::options::Options;
use crate::regex::program::ExecError;
use crate::regex::program::Program;
use crate::regex::substitute::substitute;
use crate::sys::pcre2::Captures;
use std::ffi::c_int;
use std::rc::Rc;

functions! {
    /// What needs no callback.
    pub NGX_RE "ngx.re" {
        match: ANY => match_,
        find: ANY => find,
    }
}

functions! {
    /// For the prelude.
    pub NATIVE "native.re" {
        exec: ANY => exec,
        substitute: ANY => substitute_template,
    }
}

/// A compiled pattern, or OpenResty's text on what is wrong with it.
type Compiled = Result<Rc<Program>, String>;

/// The pattern at argument `pattern`, with the option letters at `letters`.
///
/// # Errors
/// Unknown letters, or no pattern.
fn compiled(call: &Call<'_>, pattern: c_int, letters: c_int) -> Result<Compiled, ApiError> {
    let letters = match call.value(letters) {
        Value::Nil | Value::Boolean(false) => b"".as_slice(),
        _ => call.bytes(letters)?,
    };
    let options = Options::parse(letters).map_err(|error| ApiError::from(error.to_string()))?;
    let Some(text) = call.stack().text(pattern).filter(|_| pattern as usize <= call.count()) else {
        let got = call.kind(pattern).name();
        let got = if got == "no value" { "nil" } else { got };
        let text = format!("attempt to get length of local 'regex' (a {got} value)");
        return Err(text.into());
    };
    Ok(call.vm().pattern(letters, options, text))
}

/// The subject through `tostring`.
///
/// # Errors
/// Whatever `__tostring` raises.
fn subject<'a>(call: &Call<'a>) -> Result<&'a [u8], ApiError> {
    if call.is_none(1) { Ok(b"nil") } else { call.tostring(1) }
}

/// Where to begin: `ctx.pos`, from 1, as a byte from 0.
fn start_of(context: Option<&Table<'_>>) -> usize {
    match context.map(|it| it.get("pos")) {
        Some(Value::Number(pos)) if pos > 0.0 => pos as usize - 1,
        _ => 0,
    }
}

/// Argument 4, the context table.
///
/// # Errors
/// Something else than a table.
fn context<'a>(call: &Call<'a>) -> Result<Option<Table<'a>>, ApiError> {
    match call.value(4) {
        Value::Nil | Value::Boolean(false) => Ok(None),
        _ => call.table(4).map(Some),
    }
}

/// `ngx.re.match(subject, regex, options, ctx, res)`.
fn match_(call: &Call<'_>) -> ApiResult {
    let subject = subject(call)?;
    let program = match compiled(call, 2, 3)? {
        Ok(program) => program,
        Err(text) => return call.reply((None::<bool>, text)),
    };
    let context = context(call)?;
    let mut captures = Captures::new();
    match program.exec(subject, start_of(context.as_ref()), &mut captures) {
        Ok(true) => {}
        Ok(false) => return call.reply(None::<bool>),
        Err(error) => return call.reply((None::<bool>, error.to_string())),
    }
    if let (Some(context), Some((_, end))) = (&context, captures.get(0)) {
        context.set("pos", end + 1);
    }
    let given = if call.kind(5) == Kind::Table { Some(call.table(5)?) } else { None };
    call.reply(&capture_table(call, &program, subject, &captures, given))
}

/// The table of a match: `[0]` the whole, `[n]` the groups (false for those that took no part),
/// and the named groups.
fn capture_table<'a>(
    call: &Call<'a>,
    program: &Program,
    subject: &[u8],
    captures: &Captures,
    given: Option<Table<'a>>,
) -> Table<'a> {
    let count = program.group_count();
    let table = given.unwrap_or_else(|| call.stack().new_table(count, 1 + program.names().count()));
    let group = |number| captures.get(number).and_then(|(from, to)| subject.get(from..to));
    for number in 0..=count {
        match group(number) {
            Some(text) => table.set_index(number, text),
            None => table.set_index(number, false),
        }
    }
    for (name, number) in program.names() {
        match group(number) {
            _ if program.options().dupnames => add_named(&table, name, group(number)),
            Some(text) => table.set(name, text),
            None => table.set(name, false),
        }
    }
    table
}

/// Under the option `D` a name has the list of its groups that took part.
fn add_named(table: &Table<'_>, name: &[u8], text: Option<&[u8]>) {
    let Some(text) = text else { return };
    match table.get(name) {
        Value::Table(list) => list.set_index(list.len() + 1, text),
        _ => {
            let list = table.stack().new_table(1, 0);
            list.set_index(1, text);
            table.set(name, &list);
        }
    }
}

/// `ngx.re.find(subject, regex, options, ctx, nth)`.
fn find(call: &Call<'_>) -> ApiResult {
    let failed = |text: String| call.reply((None::<bool>, None::<bool>, text));
    let subject = subject(call)?;
    let program = match compiled(call, 2, 3)? {
        Ok(program) => program,
        Err(text) => return failed(text),
    };
    let context = context(call)?;
    let mut captures = Captures::new();
    match program.exec(subject, start_of(context.as_ref()), &mut captures) {
        Ok(true) => {}
        Ok(false) => return call.reply(None::<bool>),
        Err(error) => return failed(error.to_string()),
    }
    if let (Some(context), Some((_, end))) = (&context, captures.get(0)) {
        context.set("pos", end + 1);
    }
    let nth = call.opt_integer(5)?.and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
    if nth > program.group_count() {
        return failed("nth out of bound".to_owned());
    }
    match captures.get(nth) {
        Some((from, to)) => call.reply((from + 1, to)),
        None => call.reply((None::<bool>, None::<bool>)),
    }
}

/// `exec(subject, regex, options, start)`: the match's table, its start and end (bytes from 0);
/// nil for none; nil and a text for an error.
fn exec(call: &Call<'_>) -> ApiResult {
    let subject = subject(call)?;
    let program = match compiled(call, 2, 3)? {
        Ok(program) => program,
        Err(text) => return call.reply((None::<bool>, text)),
    };
    let start = call.integer(4)?;
    if start < 0 {
        // Only asked whether it compiles.
        return call.reply(true);
    }
    let mut captures = Captures::new();
    match program.exec(subject, start as usize, &mut captures) {
        Ok(true) => {}
        Ok(false) => return call.reply(None::<bool>),
        Err(error) => return call.reply((None::<bool>, error.to_string())),
    }
    let (from, to) = captures.get(0).unwrap_or_default();
    let table = capture_table(call, &program, subject, &captures, None);
    call.reply((&table, from, to))
}

/// `substitute(subject, regex, template, options, is_global)`.
fn substitute_template(call: &Call<'_>) -> ApiResult {
    let failed = |text: String| call.reply((None::<bool>, None::<bool>, text));
    let program = match compiled(call, 2, 4)? {
        Ok(program) => program,
        Err(text) => return failed(text),
    };
    let template = match call.vm().patterns().template(call.tostring(3)?) {
        Ok(template) => template,
        Err(error) => {
            call.vm().log(Level::Error, error.detail.as_bytes());
            return failed(error.to_string());
        }
    };
    let subject = subject(call)?;
    let mut out = Vec::new();
    let is_global = call.boolean(5);
    let count = substitute::<ExecError>(&program, subject, is_global, &mut out, |out, captures| {
        template.expand_into(out, subject, captures);
        Ok(())
    });
    match count {
        Ok(0) => call.reply((subject, 0)),
        Ok(count) => call.reply((out, count)),
        Err(error) => failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::eval;

    #[test]
    fn patterns_match_as_in_openresty() {
        let cases = [
            (
                r"local m = ngx.re.match('hello, 1234', '([0-9])[0-9]+', 'jo') return m[0], m[1]",
                "1234 | 1",
            ),
            (r"return ngx.re.match('hello', '[0-9]')", "nil"),
            (
                r"local m = ngx.re.match('ab', '(?<x>a)(?<y>z)?', 'o') return m.x, m.y, m[2], #m",
                "a | false | false | 2",
            ),
            (r"local m = ngx.re.match('ab', '(?<n>a)(?<n>b)', 'D') return m.n[1], m.n[2]", "a | b"),
            (
                r"local c = {pos = 3} local m = ngx.re.match('1, 2', '[0-9]', '', c)
                   return m[0], c.pos",
                "2 | 5",
            ),
            (r"local t = {} ngx.re.match('x', 'x', '', nil, t) return t[0]", "x"),
            (
                r"return select(2, ngx.re.match('a', '(')):match('^[%w_]+%(%) failed') ",
                "pcre_compile() failed",
            ),
            (
                r"return pcall(ngx.re.match, 'a', 'a', 'H')",
                "false | unknown flag \"H\" (flags \"H\")",
            ),
            (
                r"return pcall(ngx.re.match, 'a')",
                "false | attempt to get length of local 'regex' (a nil value)",
            ),
            (r"return ngx.re.find('hello, 1234', '([0-9])([0-9]+)', 'jo')", "8 | 11"),
            (r"return ngx.re.find('hello, 1234', '([0-9])([0-9]+)', 'jo', nil, 2)", "9 | 11"),
            (r"return ngx.re.find('hello', '(x)?h', '', nil, 1)", "nil | nil"),
            (r"return ngx.re.find('a', 'a', '', nil, 5)", "nil | nil | nth out of bound"),
            (r"return ngx.re.find('a', 'a', '', {pos = 9})", "nil | nil | pcre_exec() failed: -24"),
            (
                r"return ngx.re.sub('hello, 1234', '([0-9])[0-9]', '[$0][$1]${1}$$')",
                "hello, [12][1]1$34 | 1",
            ),
            (r"return ngx.re.gsub('abc', '', 'x')", "xaxbxcx | 4"),
            (r"return ngx.re.gsub('abc', 'z', 'x')", "abc | 0"),
            (
                r"return ngx.re.sub('a', 'a', '$x')",
                "nil | nil | failed to compile the replacement template",
            ),
            (
                r"return ngx.re.gsub('a1b2', '[0-9]', function(m) ngx.sleep(0)
                   return '<' .. m[0] .. '>' end, 'i')",
                "a<1>b<2> | 2",
            ),
            (r"return ngx.re.gsub('ab', '', function(m) return '-' end)", "-a-b- | 3"),
            (r"return ngx.re.sub('ab', 'b', function(m) return 7 end)", "a7 | 1"),
            (
                r"local s = '' for m in ngx.re.gmatch('a1b22', '([a-z])([0-9]+)', 'o') do
                   s = s .. m[1] .. '=' .. m[2] .. ';' end return s",
                "a=1;b=22;",
            ),
            (r"local n = 0 for m in ngx.re.gmatch('ab', '') do n = n + 1 end return n", "3"),
            (r"local it, err = ngx.re.gmatch('a', '(') return it, err ~= nil", "nil | true"),
            (r"return ngx.re.match(12, '2')[0]", "2"),
        ];
        for (code, expected) in cases {
            assert_eq!(eval(code), expected, "{code}");
        }
    }
}
