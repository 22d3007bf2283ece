//! At start: can a runaway script be stopped? A build of LuaJIT without its hook check cannot.

use crate::config::model::Chunk;
use crate::config::model::ChunkSource;
use crate::lua::outcome::FailureKind;
use crate::lua::phase::Phase;
use crate::lua::vm::Options;
use crate::lua::vm::Vm;
use std::sync::mpsc;
use std::time::Duration;

/// CPU time that the endless loop is given.
const BUDGET_MS: u64 = 5;
/// How long it may take to stop it, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `while true do end`, compiled by the JIT, on a thread of its own until it is stopped.
///
/// # Errors
/// It was not stopped: the program must not serve scripts.
pub fn runaway_scripts_can_be_stopped() -> Result<(), &'static str> {
    const FAILED: &str = "a runaway Lua script cannot be stopped: LuaJIT was built without \
                          LUAJIT_ENABLE_CHECKHOOK";
    let (tell, told) = mpsc::channel();
    let started = std::thread::Builder::new()
        .name("lua-self-test".to_owned())
        // Nobody listens any more after the time is up.
        .spawn(move || _ = tell.send(is_stopped()));
    if started.is_err() {
        return Err("no thread for the self-test of Lua");
    }
    match told.recv_timeout(PATIENCE) {
        Ok(true) => Ok(()),
        _ => Err(FAILED),
    }
}

fn is_stopped() -> bool {
    let options = Options { handler_timeout_ms: BUDGET_MS, ..Options::default() };
    let Ok(vm) = Vm::open(options) else { return false };
    let source = ChunkSource::Inline("while true do end".to_owned());
    let chunk = Chunk { at: Default::default(), directive: "self_test".to_owned(), source };
    let Ok(handler) = vm.handler(&chunk) else { return false };
    let end = vm.call_sync(&handler, None, Phase::Log);
    end.is_err_and(|failure| failure.kind == FailureKind::Timeout)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_build_can_stop_them() {
        assert_eq!(super::runaway_scripts_can_be_stopped(), Ok(()));
    }
}
