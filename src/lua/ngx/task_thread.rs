//! A thread that runs tasks for `ngx.run_worker_thread`: it has a VM of its own, which it keeps
//! from task to task.

use crate::lua::ffi::stack::Table;
use crate::lua::ffi::thread::Resumed;
use crate::lua::ffi::thread::load;
use crate::lua::ffi::thread::main_stack;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::ffi::value::Values;
use crate::lua::phase::Phase;
use crate::lua::vm::Frame;
use crate::lua::vm::Options;
use crate::lua::vm::Vm;
use parking_lot::Mutex;
use std::io;
use std::rc::Rc;
use std::sync::Weak;
use std::sync::mpsc;
use std::thread;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::oneshot;

/// How deep tables may be nested on their way between VMs, as in OpenResty.
const MAX_DEPTH: usize = 100;

/// What a task comes down to, in the thread's VM: one table of all results, and their number.
const DRIVER: &str = "
    local function pack(...)
        return { n = select('#', ...), ... }
    end

    local module, name = ...
    local found, loaded = pcall(require, module)
    if not found then
        return pack(false, loaded)
    end
    if type(loaded) ~= 'table' then
        return pack(false, 'invalid lua module')
    end
    if type(loaded[name]) ~= 'function' then
        return pack(false, 'invalid function')
    end
    return pack(pcall(loaded[name], select(3, ...)))
";

/// Threads without a task. Each is here by the end that tasks are sent into.
pub(super) type Idle = Mutex<Vec<mpsc::Sender<Task>>>;

/// A call on its way to a thread.
pub(super) struct Task {
    /// The module's name, the function's, and its arguments.
    pub arguments: Values,
    /// Where the results go.
    pub answer: oneshot::Sender<Values>,
    /// The right to run, given back with the end of the task.
    pub permit: OwnedSemaphorePermit,
    /// How the thread is reached, so that it can be idle again. Nobody else has this: a thread
    /// ends with the VM that its tasks come from.
    pub home: mpsc::Sender<Task>,
}

/// Starts a thread; it is idle from now on, wherever the caller puts what is returned.
///
/// # Errors
/// When the system has no thread to give.
pub(super) fn spawn(options: Options, idle: Weak<Idle>) -> io::Result<mpsc::Sender<Task>> {
    let (home, tasks) = mpsc::channel::<Task>();
    thread::Builder::new().name("lua task".to_owned()).spawn(move || {
        let vm = Vm::open(options);
        while let Ok(Task { arguments, answer, permit, home }) = tasks.recv() {
            let results = match &vm {
                Ok(vm) => run(vm, arguments),
                Err(error) => failed(error.to_string().into_bytes()),
            };
            if let Some(idle) = idle.upgrade() {
                idle.lock().push(home);
            }
            drop(permit);
            // Whoever asked may be gone.
            let _ = answer.send(results);
        }
    })?;
    Ok(home)
}

/// `false` and why.
pub(super) fn failed(text: impl Into<Vec<u8>>) -> Values {
    Values::from_iter([Owned::Boolean(false), Owned::Bytes(text.into())])
}

fn run(vm: &Rc<Vm>, arguments: Values) -> Values {
    let frame = Frame::new(None, Phase::WorkerThread, None);
    vm.within(frame, || results_of(vm, arguments)).0
}

fn results_of(vm: &Rc<Vm>, arguments: Values) -> Values {
    let driver = match load(vm.state(), DRIVER.as_bytes(), b"=run_worker_thread") {
        Ok(driver) => driver,
        Err(text) => return failed(text),
    };
    let thread = vm.take_thread();
    let stack = thread.stack(vm.state());
    stack.push_anchored(&driver);
    main_stack(vm.state()).release(driver);
    let count = stack.push(arguments);
    if thread.call(vm.state(), count, 1) != Resumed::Finished {
        let text = stack.text(-1).unwrap_or(b"unknown reason").to_vec();
        thread.discard(vm.state());
        return failed(text);
    }
    let Some(results) = stack.as_table(-1) else { return failed("no results") };
    let values = read(&results);
    vm.recycle(thread);
    values
}

/// The results that the driver has put into a table.
fn read(results: &Table<'_>) -> Values {
    let count = match results.get("n") {
        Value::Number(count) => count as usize,
        _ => 0,
    };
    let mut values = Values::new();
    let mut fault = None;
    results.each_index(count, |n, value| match portable(value, 1) {
        // An error may be of any type.
        Err(_) if n == 2 && values.first() == Some(&Owned::Boolean(false)) => {
            values.push(Owned::Text("unknown reason"));
            true
        }
        Ok(value) => {
            values.push(value);
            true
        }
        Err(text) => {
            fault = Some(text);
            false
        }
    });
    fault.map_or(values, |text| failed(format!("{text} in the return value")))
}

/// A copy of `value` for another VM. `depth` counts tables from 1.
///
/// # Errors
/// OpenResty's words for what cannot be copied.
pub(super) fn portable(value: Value<'_>, depth: usize) -> Result<Owned, &'static str> {
    Ok(match value {
        Value::Nil => Owned::Nil,
        Value::Boolean(it) => Owned::Boolean(it),
        Value::Number(it) => Owned::Number(it),
        Value::Bytes(it) => Owned::Bytes(it.to_vec()),
        Value::Light(0) => Owned::Null,
        Value::Table(table) => entries(&table, depth)?,
        Value::Other(Kind::Function) => return Err("unsupported Lua type: LUA_TFUNCTION"),
        Value::Other(Kind::Userdata) => return Err("unsupported Lua type: LUA_TUSERDATA"),
        Value::Other(Kind::Thread) => return Err("unsupported Lua type: LUA_TTHREAD"),
        Value::Light(_) | Value::Other(_) => return Err("unsupported Lua type"),
    })
}

fn entries(table: &Table<'_>, depth: usize) -> Result<Owned, &'static str> {
    if depth >= MAX_DEPTH {
        return Err("suspicious circular references, table depth exceed max depth: 100");
    }
    let mut entries = Ok(Vec::new());
    table.each(|key, value| {
        let pair = portable(key, depth + 1).and_then(|key| Ok((key, portable(value, depth + 1)?)));
        match (pair, &mut entries) {
            (Ok(pair), Ok(entries)) => entries.push(pair),
            (Err(text), _) => entries = Err(text),
            (_, Err(_)) => {}
        }
        entries.is_ok()
    });
    entries.map(Owned::Map)
}
