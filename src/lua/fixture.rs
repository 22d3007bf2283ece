//! Scripts run in tests: a VM, a chunk, and what became of it.

use crate::config::diagnostic::At;
use crate::config::model::Chunk;
use crate::config::model::ChunkSource;
use crate::lua::outcome::Failure;
use crate::lua::outcome::Outcome;
use crate::lua::outcome::Step;
use crate::lua::phase::Phase;
use crate::lua::vm::Options;
use crate::lua::vm::Vm;
use std::rc::Rc;

/// A VM with the options of tests.
pub fn vm() -> Rc<Vm> {
    vm_with(|_| {})
}

/// A VM with changed options.
pub fn vm_with(change: impl FnOnce(&mut Options)) -> Rc<Vm> {
    let mut options = Options { random_seed: 7 << 11, ..Options::default() };
    change(&mut options);
    Vm::open(options).unwrap()
}

/// An inline chunk at `nginx.conf:1`.
pub fn chunk(directive: &str, code: &str) -> Chunk {
    Chunk {
        at: At::new("nginx.conf", 1),
        directive: directive.to_owned(),
        source: ChunkSource::Inline(code.to_owned()),
    }
}

/// A runtime with a `LocalSet`, as a worker has.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime.unwrap(), future)
}

/// Runs `code` as content handler to its end; nothing downstream is asked for.
pub async fn run(vm: &Rc<Vm>, code: &str) -> Result<Outcome, Failure> {
    let chunk = chunk("content_by_lua", code);
    let handler = vm.handler(&chunk).unwrap();
    let mut run = vm.run(&handler, None, Phase::Content);
    match run.next().await {
        Step::Done(result) => result,
        Step::Downstream(op) => panic!("unexpected {op:?}"),
    }
}

/// What the function body `code` returns, each value by `tostring`, joined by ` | `.
pub fn eval_in(vm: &Rc<Vm>, code: &str) -> String {
    let code = format!(
        "local function join(...) local t = {{...}} for i = 1, select('#', ...) do \
         t[i] = tostring(t[i]) end return table.concat(t, ' | ') end \
         rawset(_G, 'OUT', join((function() {code}\nend)()))"
    );
    block_on(async {
        if let Err(failure) = run(vm, &code).await {
            return format!("ERROR {failure}");
        }
        global(vm, "OUT")
    })
}

/// The same in a VM of its own.
pub fn eval(code: &str) -> String {
    eval_in(&vm(), code)
}

/// A global as text.
pub fn global(vm: &Rc<Vm>, name: &str) -> String {
    let chunk = chunk("set_by_lua", &format!("return tostring({name})"));
    let handler = vm.handler(&chunk).unwrap();
    let end = vm.call_sync(&handler, None, Phase::Set).unwrap();
    String::from_utf8_lossy(&end.value.unwrap_or_default()).into_owned()
}
