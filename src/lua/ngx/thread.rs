//! `ngx.thread`: light threads, which take turns within one handler.

use crate::lua::crew::Member;
use crate::lua::crew::Wait;
use crate::lua::crew::bury;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::call::Reply;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::thread::Thread;
use crate::lua::ffi::value::Kind;
use crate::lua::ngx::location::is_capturing;
use crate::lua::outcome::Op;
use smallvec::SmallVec;
use std::ffi::c_int;
use std::rc::Rc;

functions! {
    /// `ngx.thread`.
    pub NGX_THREAD "ngx.thread" {
        spawn: YIELDING => spawn,
        wait: YIELDING => wait,
        kill: YIELDING => kill,
    }
}

functions! {
    /// What `coroutine.status` and `coroutine.resume` ask.
    pub NATIVE "native" {
        light_status: ANY => light_status,
    }
}

const NO_THREAD: &str = "lua thread expected";
const TOO_LATE: &str = "already waited or killed";

/// `spawn(function, …)`: a new light thread, which runs at once until it waits.
fn spawn(call: &Call<'_>) -> ApiResult {
    if !call.is_lua_function(1) {
        return Err(ApiError::argument(1, "Lua function expected"));
    }
    call.check_yieldable()?;
    let vm = call.vm();
    let thread = Thread::new(vm.state());
    let count = call.count();
    thread.take_from(&call.stack(), count);
    let address = thread.address();
    let crew = vm.api().crew.borrow().as_ref().map(Rc::clone).unwrap_or_default();
    crew.add(Member {
        address,
        parent: call.coroutine(),
        has_member_parent: false,
        thread: Some(thread),
        wait: Wait::Ready(count - 1),
        ended: None,
    });
    call.wait_for(Op::Spawn(crew, address))
}

/// `wait(thread, …)`: true and the results of the first that ends, or false and its error.
fn wait(call: &Call<'_>) -> ApiResult {
    let count = call.count() as c_int;
    if count == 0 {
        return Err("at least one coroutine should be specified".into());
    }
    let vm = call.vm();
    let crew = vm.api().crew.borrow().as_ref().map(Rc::clone);
    let mut alive = SmallVec::new();
    for index in 1..=count {
        if call.kind(index) != Kind::Thread {
            return Err(ApiError::argument(index, NO_THREAD));
        }
        let address = call.stack().address(index);
        let known = crew.as_ref().and_then(|it| it.with(address, |it| (it.parent, it.ended)));
        let dead = || vm.api().parent_of_ended(&call.stack(), index);
        let parent = known
            .map(|it| it.0)
            .or_else(dead)
            .filter(|it| *it != 0)
            .ok_or("attempt to wait on a coroutine that is not a user thread")?;
        if parent != call.coroutine() {
            return Err("only the parent coroutine can wait on the thread".into());
        }
        match known {
            Some((_, None)) => alive.push(address),
            Some((_, Some(ok))) => {
                let member = crew.as_ref().and_then(|it| it.remove(address));
                return claim(call, member, ok);
            }
            None if index < count => {}
            None => return call.reply((None::<bool>, TOO_LATE)),
        }
    }
    call.wait_for(Op::Threads(alive))
}

/// The results of a light thread that has ended.
fn claim(call: &Call<'_>, member: Option<Member>, ok: bool) -> ApiResult {
    let Some(member) = member else { return call.reply((None::<bool>, TOO_LATE)) };
    let mut count = call.stack().push(ok);
    count += member.thread.as_ref().map_or(0, |it| it.give_all(&call.stack()));
    bury(call.vm(), member);
    Ok(Reply::Values(count))
}

/// `kill(thread)`: ends a light thread that the caller spawned, wherever it waits.
fn kill(call: &Call<'_>) -> ApiResult {
    if call.kind(1) != Kind::Thread {
        return Err(ApiError::argument(1, NO_THREAD));
    }
    let refuse = |text: &str| call.reply((None::<bool>, text));
    let vm = call.vm();
    let crew = vm.api().crew.borrow().as_ref().map(Rc::clone);
    let address = call.stack().address(1);
    let known = crew.as_ref().and_then(|it| it.with(address, |it| (it.parent, it.ended)));
    let dead = || vm.api().parent_of_ended(&call.stack(), 1);
    let Some(parent) = known.map(|it| it.0).or_else(dead).filter(|it| *it != 0) else {
        return refuse("not user thread");
    };
    if parent != call.coroutine() {
        return refuse("killer not parent");
    }
    let Some((_, ended)) = known else { return refuse(TOO_LATE) };
    if ended.is_none() && is_capturing(call, Some(address)) {
        return refuse("pending subrequests");
    }
    if let Some(member) = crew.and_then(|it| it.remove(address)) {
        bury(vm, member);
    }
    if ended.is_some() { refuse("already terminated") } else { call.reply(1) }
}

/// `light_status(coroutine)`: what `coroutine.status` says of a light thread or of the handler
/// that has some; nil for other coroutines.
fn light_status(call: &Call<'_>) -> ApiResult {
    if call.kind(1) != Kind::Thread {
        return call.reply(None::<bool>);
    }
    let vm = call.vm();
    let address = call.stack().address(1);
    let crew = vm.api().crew.borrow().as_ref().map(Rc::clone);
    let status = match crew.and_then(|it| it.with(address, |it| it.ended.is_some())) {
        Some(true) => Some("zombie"),
        Some(false) => Some("running"),
        None => vm.api().parent_of_ended(&call.stack(), 1).map(|_| "dead"),
    };
    call.reply(status)
}

#[cfg(test)]
mod tests;
