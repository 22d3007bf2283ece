//! Building a VM: the API's tables, the preludes, where `require` looks.

use crate::log::capture;
use crate::lua::ffi::fast;
use crate::lua::ffi::function::Library;
use crate::lua::ffi::function::push_function;
use crate::lua::ffi::heap::State;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::thread::Resumed;
use crate::lua::ffi::thread::load;
use crate::lua::ffi::thread::main_stack;
use crate::lua::ffi::thread::trim_main;
use crate::lua::ffi::value::Null;
use crate::lua::ffi::value::Slot;
use crate::lua::ffi::value::Value;
use crate::lua::ffi::zones;
use crate::lua::ngx::LIBRARIES;
use crate::lua::ngx::PRELUDES;
use crate::lua::ngx::constants;
use crate::lua::ngx::shared;
use crate::lua::ngx::worker;
use crate::lua::vm::Options;
use crate::lua::vm::Vm;
use std::rc::Rc;

/// Why a VM could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No memory for a Lua state.
    #[error("no memory for a Lua VM")]
    Memory,
    /// One of our own preludes failed: a fault of this program.
    #[error("prelude {name}: {text}")]
    Prelude {
        /// Which.
        name: &'static str,
        /// Lua's message.
        text: String,
    },
}

impl Vm {
    /// Builds a VM on this thread, where it stays.
    ///
    /// # Errors
    /// No memory, or a fault of this program.
    pub fn open(options: Options) -> Result<Rc<Self>, OpenError> {
        capture::install(options.capture_error_log_bytes);
        let state = State::new(options.memory_limit_bytes).ok_or(OpenError::Memory)?;
        let vm = Rc::new_cyclic(|this| Self::new(state, options, this.clone()));
        let stack = main_stack(vm.state());
        let base = stack.top();
        let globals = stack.globals();
        globals.get("tostring");
        vm.set_tostring(stack.anchor());
        set_search_path(&vm, &globals);
        seed_random(&vm, &globals);
        let native = stack.new_table(0, 16);
        for library in LIBRARIES {
            register(&vm, &stack, library, &globals, &native);
        }
        let ngx = subtable(&stack, &globals, "ngx");
        for (name, number) in constants::NGX {
            ngx.set(*name, *number);
        }
        ngx.set("null", Null);
        worker::set_constants(&subtable(&stack, &ngx, "config"));
        let methods = subtable(&stack, &native, "shared");
        zones::show(&vm.options().dicts);
        shared::fill(&vm, &subtable(&stack, &ngx, "shared"), &methods);
        subtable(&stack, &globals, "ndk");
        fast::fill(&vm, &subtable(&stack, &native, "fast"));
        for (name, source) in PRELUDES {
            prelude(&vm, name, source, &globals, &native)?;
        }
        trim_main(vm.state(), base);
        Ok(vm)
    }
}

/// Puts the functions of `library` into their table, made if it is not there.
fn register(
    vm: &Rc<Vm>,
    stack: &Stack<'_>,
    library: &'static Library,
    globals: &Table<'_>,
    native: &Table<'_>,
) {
    let mut names = library.path.split('.').peekable();
    let mut table = *globals;
    if names.peek() == Some(&"native") {
        names.next();
        table = *native;
    }
    for name in names {
        table = subtable(stack, &table, name);
    }
    for function in library.functions {
        push_function(stack, vm, function);
        let made = Slot(stack.top());
        table.set(function.name, made);
    }
}

/// The table in the field `name` of `table`, made if it is not there.
fn subtable<'a>(stack: &Stack<'a>, table: &Table<'a>, name: &str) -> Table<'a> {
    if let Value::Table(found) = table.get(name) {
        return found;
    }
    let made = stack.new_table(0, 8);
    table.set(name, &made);
    made
}

/// # Errors
/// A prelude that fails.
fn prelude(
    vm: &Rc<Vm>,
    name: &'static str,
    source: &str,
    globals: &Table<'_>,
    native: &Table<'_>,
) -> Result<(), OpenError> {
    let failed = |text| OpenError::Prelude { name, text };
    let function = load(vm.state(), source.as_bytes(), format!("={name}").as_bytes());
    let function = function.map_err(failed)?;
    let thread = vm.take_thread();
    let stack = thread.stack(vm.state());
    stack.push_anchored(&function);
    let on_main = main_stack(vm.state());
    globals.get("ngx");
    on_main.push_copy(native.index());
    thread.take_from_main(vm.state(), 2);
    let resumed = thread.call(vm.state(), 2, 0);
    on_main.release(function);
    if resumed == Resumed::Finished {
        vm.recycle(thread);
        return Ok(());
    }
    let text = String::from_utf8_lossy(stack.text(-1).unwrap_or_default()).into_owned();
    thread.discard(vm.state());
    Err(failed(text))
}

/// `package.path` and `package.cpath`: `;;` stands for the default path, `$prefix` and `${prefix}`
/// for the server's prefix.
fn set_search_path(vm: &Rc<Vm>, globals: &Table<'_>) {
    let options = vm.options();
    let Value::Table(package) = globals.get("package") else { return };
    for (field, given) in [("path", &options.package_path), ("cpath", &options.package_cpath)] {
        if let Some(given) = given
            && let Value::Bytes(default) = package.get(field)
        {
            let prefix = options.prefix.to_string_lossy();
            let path = search_path(given, &String::from_utf8_lossy(default), &prefix);
            package.set(field, path);
        }
    }
}

/// What a `lua_package_path` means. As in OpenResty: each `;;` becomes `;default;`, and a `;` at
/// either end that came of it goes.
fn search_path(given: &str, default: &str, prefix: &str) -> String {
    let given = given.replace("${prefix}", prefix).replace("$prefix", prefix);
    let whole = given.replace(";;", &format!(";{default};"));
    whole.trim_matches(';').to_owned()
}

/// LuaJIT starts every VM with the same seed: all workers would draw alike.
fn seed_random(vm: &Rc<Vm>, globals: &Table<'_>) {
    let Value::Table(math) = globals.get("math") else { return };
    math.get("randomseed");
    let thread = vm.take_thread();
    thread.take_from_main(vm.state(), 1);
    thread.stack(vm.state()).push((vm.options().random_seed >> 11) as f64);
    thread.call(vm.state(), 1, 0);
    vm.recycle(thread);
}

#[cfg(test)]
mod tests {
    use super::search_path;
    use crate::lua::fixture::eval;

    #[test]
    fn the_search_path_is_read_as_openresty_reads_it() {
        assert_eq!(search_path("$prefix/?.lua;;", "./?.lua", "/srv"), "/srv/?.lua;./?.lua");
        assert_eq!(search_path(";;${prefix}/?.lua", "d", "/srv"), "d;/srv/?.lua");
        assert_eq!(search_path("a;b", "d", "/srv"), "a;b");
    }

    #[test]
    fn what_openresty_brings_can_be_required() {
        let cases = [
            ("return require('ngx') == ngx, require('resty.core').version", "true | 0.1.25"),
            ("return #require('resty.core.base').new_tab(3, 0)", "0"),
            ("return pcall(require('resty.core.base').allows_subsystem, 'http')", "true"),
            ("return require('table.nkeys')({1, a = 2}), table.isempty({})", "2 | true"),
            (
                "return table.isarray({1, 2}), table.isarray({a = 1}), table.isarray({})",
                "true | false | true",
            ),
            (
                "local t = {1, x = {}} local c = table.clone(t) return c[1], c.x == t.x, c ~= t",
                "1 | true | true",
            ),
            (
                "local p = require('tablepool') local t = p.fetch('a', 1, 0) t[1] = 2 \
                 p.release('a', t) local u = p.fetch('a', 0, 0) \
                 return u == t, u[1], p.fetch('a', 0, 0) == t, pcall(p.release, 'a')",
                "true | nil | false | false | object empty",
            ),
            ("return #require('table.new')(4, 0), table.clear ~= nil", "0 | true"),
            (
                "return require('ngx.base64').encode_base64url('a?>'), \
                 require('ngx.base64').decode_base64url('YT8-')",
                "YT8- | a?>",
            ),
            ("return require('ngx.base64').decode_base64url('Y')", "nil | invalid input"),
            ("return table.concat(require('ngx.re').split('a,b;c', '[,;]'), '|')", "a|b|c"),
            (
                "return table.concat(require('ngx.re').split('a,b,c', ',', nil, nil, 2), '|')",
                "a|b,c",
            ),
            ("return table.concat(require('ngx.re').split('abc', ''), '|')", "a|b|c"),
            ("return table.concat(require('ngx.re').split('a1b', '([0-9])'), '|')", "a|1|b"),
            ("return require('ngx.process').type()", "worker"),
        ];
        for (code, expected) in cases {
            assert_eq!(eval(code), expected, "{code}");
        }
    }
}
