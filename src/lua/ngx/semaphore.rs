//! What `ngx.semaphore` is made of: a count of resources, and light threads that wait for them.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::object::Object;
use crate::lua::ffi::value::Owned;
use smallvec::smallvec;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

functions! {
    /// Functions of the module `ngx.semaphore`.
    pub NATIVE "native.semaphore" {
        new: ANY => new,
        post: ANY => post,
        count: ANY => count,
        wait: ANY => wait,
    }
}

/// A semaphore of one VM.
#[derive(Debug, Default)]
pub struct Semaphore {
    resources: Cell<u64>,
    waiters: RefCell<VecDeque<Rc<Waiter>>>,
}

#[derive(Debug, Default)]
struct Waiter {
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Semaphore {
    /// With `resources` to begin with.
    pub fn new(resources: u64) -> Self {
        Self { resources: Cell::new(resources), ..Self::default() }
    }

    /// Adds `count` resources; those who wait get theirs in their order.
    pub fn post(&self, count: u64) {
        self.resources.set(self.resources.get().saturating_add(count));
        while self.resources.get() > 0 {
            let Some(waiter) = self.waiters.borrow_mut().pop_front() else { return };
            self.resources.set(self.resources.get() - 1);
            waiter.granted.set(true);
            if let Some(waker) = waiter.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Resources left, or how many wait, negative.
    pub fn count(&self) -> i64 {
        let waiting = self.waiters.borrow().len() as i64;
        i64::try_from(self.resources.get()).unwrap_or(i64::MAX) - waiting
    }

    /// Takes a resource that is there.
    pub fn take(&self) -> bool {
        let free = self.resources.get() > 0;
        self.resources.set(self.resources.get() - u64::from(free));
        free
    }
}

/// A place in the queue; given up, it passes on what it was granted.
struct Place {
    semaphore: Rc<Semaphore>,
    waiter: Rc<Waiter>,
}

impl Place {
    fn new(semaphore: Rc<Semaphore>) -> Self {
        let waiter = Rc::new(Waiter::default());
        semaphore.waiters.borrow_mut().push_back(Rc::clone(&waiter));
        Self { semaphore, waiter }
    }

    /// Until a resource is granted.
    async fn granted(&self) {
        poll_fn(|cx| {
            if self.waiter.granted.get() {
                return Poll::Ready(());
            }
            self.waiter.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        self.waiter.granted.set(false);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.semaphore.waiters.borrow_mut().retain(|it| !Rc::ptr_eq(it, &self.waiter));
        if self.waiter.granted.get() {
            self.semaphore.post(1);
        }
    }
}

fn new(call: &Call<'_>) -> ApiResult {
    let count = u64::try_from(call.integer(1)?).unwrap_or_default();
    call.reply(Object(Rc::new(Semaphore::new(count))))
}

fn this(call: &Call<'_>) -> Result<Rc<Semaphore>, ApiError> {
    call.stack().object(1).ok_or(ApiError::from("not a semaphore instance"))
}

fn post(call: &Call<'_>) -> ApiResult {
    let count = u64::try_from(call.integer(2)?).unwrap_or_default();
    this(call)?.post(count);
    call.reply(true)
}

fn count(call: &Call<'_>) -> ApiResult {
    call.reply(this(call)?.count())
}

/// `wait(semaphore, milliseconds)`: true, or nil and why; where it had to wait, lua-resty-core
/// gives two values, the first of which is false for a timeout.
fn wait(call: &Call<'_>) -> ApiResult {
    let phase = call.vm().phase();
    if !phase.yields() {
        let text = format!("API disabled in the context of {}", phase.context());
        return call.reply((None::<bool>, text));
    }
    let semaphore = this(call)?;
    let patience_ms = u64::try_from(call.integer(2)?).unwrap_or_default();
    if semaphore.take() {
        return call.reply(true);
    }
    if patience_ms == 0 {
        return call.reply((None::<bool>, "timeout"));
    }
    call.suspend(async move {
        let place = Place::new(semaphore);
        tokio::select! {
            biased;
            () = place.granted() => smallvec![Owned::Boolean(true), Owned::Nil],
            () = tokio::time::sleep(Duration::from_millis(patience_ms)) => {
                smallvec![Owned::Boolean(false), Owned::Text("timeout")]
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::block_on;
    use crate::lua::fixture::eval;
    use crate::lua::fixture::global;
    use crate::lua::fixture::run;
    use crate::lua::fixture::vm;

    #[test]
    fn resources_are_counted_and_waited_for() {
        let cases = [
            (
                "local s = new() return s:count(), s:post(), s:count(), s:wait(0), s:wait(0)",
                "0 | true | 1 | true | nil | timeout",
            ),
            ("local s = new(2) return s:wait(1), s:wait(1), s:count()", "true | true | 0"),
            ("local s = new() return s:wait(0.01)", "false | timeout"),
            (
                "local s, t = new(), {} for i = 1, 3 do ngx.thread.spawn(function()
                   assert(s:wait(9)) t[#t + 1] = i end) end
                 local before = s:count() s:post(2) local after = s:count() ngx.sleep(0.1)
                 local n = #t s:post() ngx.sleep(0.1)
                 return before, after, n, table.concat(t, ',')",
                "-3 | -1 | 2 | 1,2,3",
            ),
            // Whoever is killed in the queue leaves it, with what it had been granted.
            (
                "local s = new() local function f() s:wait(9) end
                 local a, b = ngx.thread.spawn(f), ngx.thread.spawn(f)
                 ngx.thread.kill(a) local n = s:count() s:post() ngx.thread.kill(b)
                 return n, s:count()",
                "-1 | 1",
            ),
            ("return pcall(new, -1)", "false | no negative number"),
            ("return pcall(new().post, {})", "false | not a semaphore instance"),
            ("return pcall(new().post, new(), 0)", "false | positive number required"),
            ("return pcall(new().wait, new(), -1)", "false | no negative number"),
        ];
        for (code, expected) in cases {
            let code = format!("local new = require('ngx.semaphore').new {code}");
            assert_eq!(eval(&code).replace("[string]:", ""), expected, "{code}");
        }
    }

    #[test]
    fn one_handler_wakes_another() {
        let vm = vm();
        let out = block_on(async {
            run(&vm, "SEM = require('ngx.semaphore').new()").await.unwrap();
            let code = "ngx.timer.at(0, function() OUT = tostring(SEM:wait(9)) end)";
            run(&vm, code).await.unwrap();
            tokio::task::yield_now().await;
            run(&vm, "SEM:post()").await.unwrap();
            vm.timers().idle().await;
            global(&vm, "OUT")
        });
        assert_eq!(out, "true");
    }

    #[test]
    fn phases_that_do_not_wait_are_told() {
        let text = global(&vm(), "select(2, require('ngx.semaphore').new(1):wait(1))");
        assert_eq!(text, "API disabled in the context of set_by_lua*");
    }
}
