//! `ngx.timer`: callbacks that run in coroutines of their own, as tasks of the worker.

use crate::clock;
use crate::http::headers::Headers;
use crate::log::Level;
use crate::log::main_log;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::value::Push;
use crate::lua::ngx::ssl;
use crate::lua::ngx::state::of_request;
use crate::lua::outcome::Step;
use crate::lua::phase::Phase;
use crate::lua::vm::Vm;
use crate::request::Connection;
use crate::request::Parts;
use crate::request::Request;
use crate::request::Version;
use crate::snapshot::LocationId;
use crate::snapshot::ServerId;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

functions! {
    /// `ngx.timer`.
    pub NGX_TIMER "ngx.timer" {
        at: TIMERS => at,
        every: TIMERS => every,
        running_count: TIMERS => running_count,
        pending_count: TIMERS => pending_count,
    }
}

fn running_count(call: &Call<'_>) -> ApiResult {
    call.reply(call.vm().timers().running())
}

fn pending_count(call: &Call<'_>) -> ApiResult {
    call.reply(call.vm().timers().pending())
}

fn at(call: &Call<'_>) -> ApiResult {
    start(call, false)
}

fn every(call: &Call<'_>) -> ApiResult {
    start(call, true)
}

fn start(call: &Call<'_>, repeats: bool) -> ApiResult {
    let count = call.count();
    if count < 2 {
        return Err(format!("expecting at least 2 arguments but got {count}").into());
    }
    let delay_ms = (call.number(1)? * 1000.0) as u64;
    if repeats && delay_ms == 0 {
        return Err("delay cannot be zero".into());
    }
    if !call.is_lua_function(2) {
        return Err(ApiError::argument(2, "Lua function expected"));
    }
    let timers = call.vm().timers();
    if timers.is_exiting() && delay_ms > 0 {
        return call.reply((None::<bool>, "process exiting"));
    }
    if timers.is_full() {
        return call.reply((None::<bool>, "too many pending timers"));
    }
    let Some(vm) = call.vm().shared() else { return Err("the VM is being built".into()) };
    let keep = |index: c_int| {
        call.stack().push_copy(index);
        call.stack().anchor()
    };
    let callback = Callback {
        function: Some(keep(2)),
        arguments: (3..=count as c_int).map(keep).collect(),
        origin: Origin::of(call.vm()),
        vm,
    };
    let delay = Duration::from_millis(delay_ms);
    let waiting = Waiting::new(&callback.vm);
    tokio::task::spawn_local(live(callback, waiting, delay, repeats));
    call.reply(1)
}

/// What a timer keeps in its VM until it is over.
struct Callback {
    vm: Rc<Vm>,
    function: Option<Anchor>,
    arguments: Vec<Anchor>,
    origin: Option<Origin>,
}

/// Where a timer was started: what the request is made of in which its callback runs. The request
/// that started it is not kept.
struct Origin {
    snapshot: Arc<Snapshot>,
    connection: Rc<Connection>,
    server: ServerId,
    location: LocationId,
}

impl Origin {
    fn of(vm: &Vm) -> Option<Self> {
        if let Some(request) = vm.request() {
            return Some(Self {
                snapshot: Arc::clone(&request.snapshot),
                connection: Rc::clone(&request.connection),
                server: request.server.get(),
                location: request.location.get(),
            });
        }
        let snapshot = vm.host()?.snapshot()?;
        let location = snapshot.servers.first()?.root;
        let connection = Rc::new(Connection::without_client());
        Some(Self { snapshot, connection, server: 0, location })
    }

    /// A request without a client.
    fn request(&self) -> Rc<Request> {
        let request = Request::new(Parts {
            snapshot: Arc::clone(&self.snapshot),
            connection: Rc::clone(&self.connection),
            started: clock::monotonic(),
            version: Version::Http09,
            method: Bytes::new(),
            line: Bytes::new(),
            target: Bytes::new(),
            uri: Bytes::new(),
            args: None,
            host: Bytes::new(),
            headers: Headers::default(),
            head_length: 0,
            server: self.server,
            is_fake: true,
        });
        request.location.set(self.location);
        request
    }
}

impl Vm {
    /// A request that stands for a handshake on `connection`, which `phase` of `server` shares.
    pub fn handshake_request(
        &self,
        snapshot: &Arc<Snapshot>,
        connection: &Rc<Connection>,
        server: ServerId,
        phase: Phase,
        handshake: &ssl::Shared,
    ) -> Rc<Request> {
        let origin = Origin {
            snapshot: Arc::clone(snapshot),
            connection: Rc::clone(connection),
            server,
            location: snapshot.server(server).root,
        };
        let request = origin.request();
        request.context.set(phase.context());
        of_request(self, &request, |state| state.handshake = Some(Rc::clone(handshake)));
        request
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        for anchor in self.function.take().into_iter().chain(self.arguments.drain(..)) {
            self.vm.release(anchor);
        }
    }
}

/// A timer that waits is counted.
struct Waiting(Rc<Vm>);

impl Waiting {
    fn new(vm: &Rc<Vm>) -> Self {
        vm.timers().begin_wait();
        Self(Rc::clone(vm))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.timers().end_wait();
    }
}

/// A callback that runs is counted.
struct Running<'a>(&'a Vm);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.timers().end_run();
    }
}

/// `premature` and the script's own arguments.
struct Arguments<'a>(bool, &'a [Anchor]);

impl Push for Arguments<'_> {
    fn push(self, stack: &Stack<'_>) -> usize {
        let premature = self.0.push(stack);
        premature + self.1.iter().map(|anchor| anchor.push(stack)).sum::<usize>()
    }
}

/// A timer from its start to its last callback.
async fn live(callback: Callback, waiting: Waiting, delay: Duration, repeats: bool) {
    let callback = Rc::new(callback);
    let timers = callback.vm.timers();
    let mut waiting = Some(waiting);
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep(delay) => {}
            () = timers.exited(), if !delay.is_zero() => {}
        }
        let premature = timers.is_exiting();
        if !repeats || premature {
            return fire(&callback, &mut waiting, premature).await;
        }
        // The next one waits while this one runs.
        let current = Rc::clone(&callback);
        tokio::task::spawn_local(async move { fire(&current, &mut None, false).await });
    }
}

/// Runs the callback once; from then on it does not wait.
async fn fire(callback: &Callback, waiting: &mut Option<Waiting>, premature: bool) {
    let vm = &callback.vm;
    let admitted = vm.timers().begin_run();
    waiting.take();
    let Some(function) = &callback.function else { return };
    let trace = |text| main_log().say(Level::Debug, format_args!("{text}"));
    trace("lua ngx.timer expired");
    if !admitted {
        let max = vm.timers().max_running();
        let (source, line) = vm.definition(function).unwrap_or_default();
        let text = format!(
            "lua failed to run timer with function defined at {source}:{line}: {max} \
             lua_max_running_timers are not enough"
        );
        return vm.log(Level::Alert, text.as_bytes());
    }
    let _running = Running(vm);
    let request = callback.origin.as_ref().map(Origin::request);
    let arguments = Arguments(premature, &callback.arguments);
    let mut run = vm.run_function(function, arguments, request.clone(), Phase::Timer);
    loop {
        match run.next().await {
            Step::Downstream(_) => run.resume_downstream(Err("no client".to_owned())),
            Step::Done(Ok(_)) => break,
            Step::Done(Err(failure)) => break vm.log_timer_failure(request.as_ref(), &failure),
        }
    }
    trace("http lua close fake http connection");
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::block_on;
    use crate::lua::fixture::eval;
    use crate::lua::fixture::global;
    use crate::lua::fixture::run;
    use crate::lua::fixture::vm;
    use crate::lua::fixture::vm_with;

    #[test]
    fn a_timer_runs_its_callback_with_its_arguments() {
        let vm = vm();
        let out = block_on(async {
            let code = "OUT = '' ngx.timer.at(0.5, function(premature, a, b) ngx.sleep(0.1)
                OUT = tostring(premature) .. a .. tostring(b) .. ngx.get_phase() end, 'x', nil)
                assert(ngx.timer.pending_count() == 1)";
            run(&vm, code).await.unwrap();
            vm.timers().idle().await;
            global(&vm, "OUT")
        });
        assert_eq!(out, "falsexniltimer");
        vm.collect_garbage();
        assert_eq!(vm.timers().pending() + vm.timers().running(), 0);
    }

    #[test]
    fn every_repeats_until_the_worker_leaves_and_says_so() {
        let vm = vm();
        let out = block_on(async {
            let code = "OUT = '' ngx.timer.every(1, function(premature)
                OUT = OUT .. (premature and 'p' or 'x') end)";
            run(&vm, code).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(3500)).await;
            vm.timers().exit();
            vm.timers().idle().await;
            global(&vm, "OUT")
        });
        assert_eq!(out, "xxxp");
    }

    #[test]
    fn what_waits_when_the_worker_leaves_is_premature() {
        let vm = vm();
        let out = block_on(async {
            let code = "ngx.timer.at(3600, function(premature) OUT = premature
                AT = select(2, ngx.timer.at(1, function() end)) end)";
            run(&vm, code).await.unwrap();
            tokio::task::yield_now().await;
            vm.timers().exit();
            vm.timers().idle().await;
            global(&vm, "tostring(OUT) .. tostring(AT)")
        });
        assert_eq!(out, "trueprocess exiting");
    }

    #[test]
    fn there_are_limits_and_checks() {
        let vm = vm_with(|options| options.max_pending_timers = 1);
        block_on(async {
            let code = "local function f() end assert(ngx.timer.at(9, f))
                local ok, e = ngx.timer.at(9, f) OUT = e";
            run(&vm, code).await.unwrap();
            tokio::task::yield_now().await;
            let code = "OUT = select(2, ngx.timer.at(9, function() end))";
            run(&vm, code).await.unwrap();
        });
        assert_eq!(global(&vm, "OUT"), "too many pending timers");
        let cases = [
            ("return pcall(ngx.timer.at)", "false | expecting at least 2 arguments but got 0"),
            (
                "return pcall(ngx.timer.at, 1, 2)",
                "false | bad argument #2 to '?' (Lua function expected)",
            ),
            (
                "return pcall(ngx.timer.at, 1, print)",
                "false | bad argument #2 to '?' (Lua function expected)",
            ),
            (
                "return pcall(ngx.timer.at, 'x', function() end)",
                "false | bad argument #1 to '?' (number expected, got string)",
            ),
            ("return pcall(ngx.timer.every, 0, function() end)", "false | delay cannot be zero"),
        ];
        for (code, expected) in cases {
            assert_eq!(eval(code), expected, "{code}");
        }
    }
}
