//! `ngx.run_worker_thread`: a function of a Lua module, run on a thread beside the worker.

use super::task_thread;
use super::task_thread::Idle;
use super::task_thread::Task;
use super::task_thread::failed;
use super::task_thread::portable;
use crate::config::model::ThreadPool;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::ffi::value::Values;
use crate::lua::vm::Options;
use crate::lua::vm::Vm;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;

functions! {
    /// `ngx.run_worker_thread`.
    pub NGX "ngx" {
        run_worker_thread: YIELDING => run_worker_thread,
    }
}

/// nginx's pool that need not be configured: threads, and tasks that may wait.
const DEFAULT_POOL: (&str, usize, usize) = ("default", 32, 65536);

/// The threads of a VM's tasks; they end with it.
#[derive(Debug, Default)]
pub struct Tasks {
    idle: Arc<Idle>,
    started: Cell<usize>,
    pools: RefCell<HashMap<String, Rc<Pool>>>,
}

/// How many tasks run and wait in a `thread_pool`.
#[derive(Debug)]
struct Pool {
    threads: Arc<Semaphore>,
    waiting: Cell<usize>,
    max_queue: usize,
}

impl Tasks {
    fn pool(&self, options: &Options, name: &str) -> Option<Rc<Pool>> {
        let (default, threads, max_queue) = DEFAULT_POOL;
        let configured = options.thread_pools.iter().find(|it| it.name == name);
        let (threads, max_queue) = match configured {
            Some(ThreadPool { threads, max_queue, .. }) => (*threads, *max_queue),
            None if name == default => (threads, max_queue),
            None => return None,
        };
        let mut pools = self.pools.borrow_mut();
        let made = || Pool {
            threads: Arc::new(Semaphore::new(threads.min(Semaphore::MAX_PERMITS))),
            waiting: Cell::new(0),
            max_queue,
        };
        Some(Rc::clone(pools.entry(name.to_owned()).or_insert_with(|| Rc::new(made()))))
    }

    /// A thread without a task, started if there may be one more.
    fn thread(&self, vm: &Vm, call: &Call<'_>) -> Option<Seat> {
        let idle = self.idle.lock().pop();
        if let Some(home) = idle {
            return Some(Seat { home: Some(home), idle: Arc::clone(&self.idle) });
        }
        if self.started.get() >= vm.options().worker_thread_vms {
            return None;
        }
        let home = task_thread::spawn(options(vm, call), Arc::downgrade(&self.idle)).ok()?;
        self.started.set(self.started.get() + 1);
        Some(Seat { home: Some(home), idle: Arc::clone(&self.idle) })
    }
}

/// A thread that is taken for a task that has not begun.
struct Seat {
    home: Option<mpsc::Sender<Task>>,
    idle: Arc<Idle>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.idle.lock().extend(self.home.take());
    }
}

/// What the VM of a task is built from: it looks for modules where this one looks now, and no
/// budget of CPU time ends it, for that is what it is there for.
fn options(vm: &Vm, call: &Call<'_>) -> Options {
    let mut options = vm.options().clone();
    options.handler_timeout_ms = 0;
    options.random_seed = rand::random();
    if let Value::Table(package) = call.stack().globals().get("package") {
        let path = |name: &str| match package.get(name) {
            Value::Bytes(path) => Some(String::from_utf8_lossy(path).into_owned()),
            _ => None,
        };
        options.package_path = path("path");
        options.package_cpath = path("cpath");
    }
    options
}

/// `ngx.run_worker_thread(pool, module, function, arguments…)`: `true` and what the function
/// returned, or `false` and why not.
fn run_worker_thread(call: &Call<'_>) -> ApiResult {
    match prepare(call) {
        Err(text) => call.reply((false, text)),
        Ok((pool, seat, arguments)) => call.suspend(run(pool, seat, arguments)),
    }
}

/// # Errors
/// What `false` comes with.
fn prepare(call: &Call<'_>) -> Result<(Rc<Pool>, Seat, Values), String> {
    if call.count() < 3 {
        return Err("expecting at least 3 arguments".to_owned());
    }
    let text = |index: i32, what: &str| {
        let bytes = call.bytes(index).map_err(|_| format!("{what} should be a string"))?;
        Ok::<_, String>(bytes.to_vec())
    };
    let name = String::from_utf8_lossy(&text(1, "threadpool")?).into_owned();
    let vm = call.vm();
    let tasks = &vm.api().tasks;
    let pool = tasks.pool(vm.options(), &name);
    let pool = pool.ok_or_else(|| format!("thread pool {name} not found"))?;
    let mut arguments = Values::new();
    arguments.push(Owned::Bytes(text(2, "module name")?));
    arguments.push(Owned::Bytes(text(3, "function name")?));
    let seat = tasks.thread(vm, call).ok_or("no available Lua vm")?;
    for index in 4..=call.count() as i32 {
        let copied = portable(call.value(index), 1);
        arguments.push(copied.map_err(|text| format!("{text} in the argument"))?);
    }
    Ok((pool, seat, arguments))
}

/// Waits for one of the pool's threads, and for the task.
async fn run(pool: Rc<Pool>, mut seat: Seat, arguments: Values) -> Values {
    let permit = match Arc::clone(&pool.threads).try_acquire_owned() {
        Ok(permit) => permit,
        Err(_) => {
            if pool.waiting.get() >= pool.max_queue {
                return failed("ngx_thread_task_post failed");
            }
            let _waiting = Waiting::new(&pool);
            match Arc::clone(&pool.threads).acquire_owned().await {
                Ok(permit) => permit,
                Err(error) => return failed(error.to_string()),
            }
        }
    };
    let (answer, answered) = oneshot::channel();
    let Some(home) = seat.home.take() else { return failed("no available Lua vm") };
    let task = Task { arguments, answer, permit, home: home.clone() };
    if home.send(task).is_err() {
        return failed("the thread has ended");
    }
    drop(home);
    answered.await.unwrap_or_else(|_| failed("the thread has ended"))
}

/// Counts a task that waits, until it no longer does.
struct Waiting<'a>(&'a Pool);

impl<'a> Waiting<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.waiting.set(pool.waiting.get() + 1);
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::model::ThreadPool;
    use crate::lua::fixture::eval;
    use crate::lua::fixture::eval_in;
    use crate::lua::fixture::vm_with;

    #[test]
    fn a_function_of_a_module_runs_on_a_thread() {
        let folder = tempfile::tempdir().unwrap();
        let module = "local M = {}\n\
            function M.twice(x) return x.n * 2, nil, {x.n, null = x.null} end\n\
            function M.fails() error('no luck') end\n\
            function M.bad() return print end\n\
            function M.phase() return ngx.get_phase(), (pcall(ngx.sleep, 0)) end\n\
            return M";
        std::fs::write(folder.path().join("task.lua"), module).unwrap();
        let run = |call: &str| {
            let vm = vm_with(|options| {
                options.package_path = Some(format!("{}/?.lua;;", folder.path().display()));
                let name = "pool".to_owned();
                options.thread_pools.push(ThreadPool { name, threads: 1, max_queue: 0 });
                options.worker_thread_vms = 1;
            });
            eval_in(&vm, &format!("return ngx.run_worker_thread({call})"))
        };
        assert_eq!(run("'pool'"), "false | expecting at least 3 arguments");
        assert_eq!(run("'none', 'task', 'twice'"), "false | thread pool none not found");
        assert_eq!(run("'pool', {}, 'twice'"), "false | module name should be a string");
        assert_eq!(run("'default', 'task', 'phase'"), "true | worker_thread | false");
        assert_eq!(run("'pool', 'task', 'nosuch'"), "false | invalid function");
        assert!(run("'pool', 'nosuch', 'x'").starts_with("false | module 'nosuch' not found"));
        assert!(run("'pool', 'task', 'fails'").ends_with("task.lua:3: no luck"));
        let unsupported = "unsupported Lua type: LUA_TFUNCTION in the";
        assert_eq!(run("'pool', 'task', 'x', {print}"), format!("false | {unsupported} argument"));
        assert_eq!(run("'pool', 'task', 'bad'"), format!("false | {unsupported} return value"));
        let both = "'pool', 'task', 'twice', {n = 4, null = ngx.null}";
        assert!(run(both).starts_with("true | 8 | nil | table"), "{}", run(both));
    }

    #[test]
    fn tables_that_hold_themselves_are_refused() {
        let code = "local t = {} t.t = t return ngx.run_worker_thread('default', 'm', 'f', t)";
        assert_eq!(
            eval(code),
            "false | suspicious circular references, table depth exceed max depth: 100 in the \
             argument"
        );
    }
}
