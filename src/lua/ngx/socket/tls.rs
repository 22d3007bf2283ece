//! `tcpsock:sslhandshake`. The prelude turns numbers of sessions into what scripts hold.

use super::Side;
use super::Tcp;
use super::Teller;
use super::failed;
use super::refuse;
use super::this;
use crate::cosocket::Stream;
use crate::cosocket::tls::Session;
use crate::cosocket::tls::Wish;
use crate::log::Level;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::call::Reply;
use crate::lua::ffi::value::Owned;
use crate::lua::vm::Vm;
use smallvec::smallvec;
use std::rc::Rc;
use std::time::Duration;

/// What the handshake gives when the connection had TLS already and a session was given.
const HAD_TLS: bool = true;

/// `sslhandshake(socket, session, name, verify, ocsp, wants_session, chain?, key?)`: the number of
/// the session, 0 when there is none; `true` when there was nothing to do; nil and why.
pub(super) fn handshake(call: &Call<'_>) -> ApiResult {
    let socket = this::<Tcp>(call)?;
    if !socket.was_connected.get() {
        return Err("socket is never created nor connected".into());
    }
    if !socket.is_open() || socket.read_closed.get() || socket.write_closed.get() {
        return refuse(call, "closed");
    }
    if socket.owner.get() != super::owner_of(call) {
        return refuse(call, "bad request");
    }
    if let Some(text) = socket.busy(&[Side::Connect, Side::Read, Side::Write]) {
        return refuse(call, text);
    }
    let number = call.stack().number(2).unwrap_or(0.0) as u64;
    let wants_session = call.boolean(6);
    let has_tls = |it: &super::Link| matches!(it.stream, Stream::Tls(_));
    if socket.link.borrow().as_ref().is_some_and(has_tls) {
        if number != 0 {
            return call.reply(HAD_TLS);
        }
        let kept = if wants_session { keep_session(call.vm(), &socket) } else { 0 };
        return call.reply(kept);
    }
    let name = call.opt_bytes(3)?.map(|it| String::from_utf8_lossy(it).into_owned());
    if let (Some(name), Some(request)) = (&name, call.vm().request()) {
        request.log(Level::Debug, format_args!("lua ssl server name: \"{name}\""));
    }
    let session = call.vm().api().sockets.sessions.borrow().get(&number).map(Rc::clone);
    if session.is_some() {
        call.vm().trace(format_args!("lua ssl set session: {number:016X}"));
    }
    if let Some(name) = &name {
        call.vm().trace(format_args!("lua ssl server name: \"{name}\""));
    }
    let wish = Wish {
        session,
        name,
        verify: call.boolean(4),
        ocsp: call.boolean(5),
        certificate: call.stack().object(7).zip(call.stack().object(8)),
    };
    let settings = socket.settings.borrow().clone();
    let teller = Teller::new(call, &settings);
    let patience_ms = socket.timeouts.get().connect.unwrap_or(settings.connect_timeout_ms);
    let patience = Duration::from_millis(patience_ms);
    let Some(vm) = call.vm().shared() else { return Err("the VM is being built".into()) };
    call.check_yieldable()?;
    call.suspend(async move {
        let busy = socket.begin(Side::Connect);
        socket.opens();
        let Some(mut link) = socket.link.take() else {
            return failed(&crate::cosocket::Error::Closed);
        };
        let Stream::Plain(raw) = link.stream else { return smallvec![Owned::Boolean(HAD_TLS)] };
        let name = wish.name.clone().unwrap_or_default();
        let shaken = tokio::time::timeout(patience, settings.tls.handshake(raw, wish)).await;
        let shaken = shaken.unwrap_or(Err(crate::cosocket::Error::Timeout));
        link.stream = match shaken {
            Ok(stream) => stream,
            Err(error) => {
                tell(&teller, &error.to_string(), &name);
                return failed(&error);
            }
        };
        socket.link.replace(Some(link));
        let kept = if wants_session { keep_session(&vm, &socket) } else { 0 };
        busy.done();
        smallvec![Owned::Number(kept as f64)]
    })
}

fn tell(teller: &Teller, text: &str, name: &str) {
    if text == "certificate host mismatch" {
        teller.say(format_args!("lua ssl certificate does not match host \"{name}\""));
    } else if text.starts_with(|it: char| it.is_ascii_digit()) {
        teller.say(format_args!("lua ssl certificate verify error: ({text})"));
    }
}

/// Remembers the session of `socket`; gives its number, 0 when it has none.
fn keep_session(vm: &Vm, socket: &Tcp) -> u64 {
    let link = socket.link.borrow();
    let Some(Stream::Tls(stream)) = link.as_ref().map(|it| &it.stream) else { return 0 };
    let Some(session) = Session::of(stream.0.ssl()) else { return 0 };
    let kept = &vm.api().sockets;
    let number = kept.last_session.get() + 1;
    kept.last_session.set(number);
    kept.sessions.borrow_mut().insert(number, Rc::new(session));
    vm.trace(format_args!("lua ssl save session: {number:016X}"));
    number
}

/// `free_session(number)`
pub(super) fn free_session(call: &Call<'_>) -> ApiResult {
    let number = call.stack().number(1).unwrap_or(0.0) as u64;
    let gone = call.vm().api().sockets.sessions.borrow_mut().remove(&number);
    if gone.is_some() {
        call.vm().trace(format_args!("lua ssl free session: {number:016X}"));
    }
    Ok(Reply::Values(0))
}
