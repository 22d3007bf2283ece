//! Lines of the error log that Lua writes or causes, with the request's context where there is one.

use crate::log::Level;
use crate::log::Line;
use crate::log::main_log;
use crate::lua::outcome::Failure;
use crate::lua::phase::Phase;
use crate::lua::vm::Frame;
use crate::lua::vm::Vm;
use crate::request::Request;
use std::fmt;
use std::rc::Rc;

impl Vm {
    /// Whether a line of `level` would be written now.
    pub fn logs(&self, level: Level) -> bool {
        match self.request() {
            Some(request) => request.logs(level),
            None => main_log().enabled(level),
        }
    }

    /// Writes a line about what runs now.
    pub fn log(&self, level: Level, message: &[u8]) {
        if let Some(request) = self.request() {
            return request.log_bytes(level, message);
        }
        let phase = self.phase();
        let context = |line: &mut Line| {
            if matches!(phase, Phase::Timer | Phase::InitWorker | Phase::ExitWorker) {
                line.raw(b", context: ");
                line.raw(phase.context().as_bytes());
            }
        };
        main_log().write_bytes(level, None, message, Some(&context));
    }

    /// Writes a line of the debug level, in lua-nginx-module's words where it has one.
    pub fn trace(&self, message: fmt::Arguments<'_>) {
        if self.logs(Level::Debug) {
            self.log(Level::Debug, message.to_string().as_bytes());
        }
    }

    /// Reports the end of a timer's callback that failed.
    pub(in crate::lua) fn log_timer_failure(
        &self,
        request: Option<&Rc<Request>>,
        failure: &Failure,
    ) {
        let frame = Frame::new(request.cloned(), Phase::Timer, None);
        self.within(frame, || self.log(Level::Error, &failure.entry_thread_text()));
    }
}
