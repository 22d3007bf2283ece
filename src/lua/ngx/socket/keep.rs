//! What does not read or write: timeouts, options, keeping a connection or closing it.

use super::Closes;
use super::Side;
use super::Tcp;
use super::Timeouts;
use super::refuse;
use super::this;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::call::Reply;
use std::ffi::c_int;
use std::io;
use std::sync::Arc;

/// A time in milliseconds; 0 is the setting's.
///
/// # Errors
/// `bad timeout value` below 0 and from 2^31 on.
pub(super) fn timeout_of(call: &Call<'_>, index: c_int) -> Result<Option<u64>, ApiError> {
    let timeout = call.stack().number(index).unwrap_or(0.0) as i64;
    match timeout {
        0 => Ok(None),
        1..=0x7fff_ffff => Ok(Some(timeout as u64)),
        _ => Err("bad timeout value".into()),
    }
}

/// `settimeout(milliseconds)`
pub(super) fn settimeout(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 2 {
        let text = "ngx.socket settimeout: expecting 2 arguments (including the object) but seen";
        return Err(format!("{text} {count}").into());
    }
    let time = timeout_of(call, 2)?;
    this::<Tcp>(call)?.timeouts.set(Timeouts { connect: time, send: time, read: time });
    Ok(Reply::Values(0))
}

/// `settimeouts(connect, send, read)`, milliseconds.
pub(super) fn settimeouts(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 4 {
        let text = "ngx.socket settimeout: expecting 4 arguments (including the object) but seen";
        return Err(format!("{text} {count}").into());
    }
    let times = Timeouts {
        connect: timeout_of(call, 2)?,
        send: timeout_of(call, 3)?,
        read: timeout_of(call, 4)?,
    };
    this::<Tcp>(call)?.timeouts.set(times);
    Ok(Reply::Values(0))
}

/// `close()`
pub(super) fn close(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 1 {
        let text = "expecting 1 argument (including the object) but seen";
        return Err(format!("{text} {count}").into());
    }
    let socket = this::<Tcp>(call)?;
    if !socket.is_open() || (socket.read_closed.get() && socket.write_closed.get()) {
        return refuse(call, "closed");
    }
    super::check_owner(call, &socket.owner)?;
    if let Some(text) = socket.busy(&[Side::Connect, Side::Read, Side::Write]) {
        return refuse(call, text);
    }
    socket.close();
    call.reply(1)
}

/// `getreusedtimes()`
pub(super) fn getreusedtimes(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 1 {
        let text = "expecting 1 argument (including the object), but got";
        return Err(format!("{text} {count}").into());
    }
    let socket = this::<Tcp>(call)?;
    let opening = socket.is_opening.get().then_some(0);
    let reused = socket.link.borrow().as_ref().map(|it| it.reused).or(opening);
    match reused {
        Some(reused) if !(socket.read_closed.get() && socket.write_closed.get()) => {
            call.reply(reused)
        }
        _ => refuse(call, "closed"),
    }
}

/// `setkeepalive(timeout?, size?)`: the connection goes to its pool.
pub(super) fn setkeepalive(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if !(1..=3).contains(&count) {
        let text = "expecting 1 to 3 arguments (including the object), but got";
        return Err(format!("{text} {count}").into());
    }
    let socket = this::<Tcp>(call)?;
    if !socket.is_open() || socket.read_closed.get() || socket.write_closed.get() {
        return refuse(call, "closed");
    }
    super::check_owner(call, &socket.owner)?;
    if let Some(text) = socket.busy(&[Side::Connect, Side::Read, Side::Write]) {
        return refuse(call, text);
    }
    let has_unread = |it: &super::Link| !it.intake.unread().is_empty();
    if socket.link.borrow().as_ref().is_some_and(has_unread) {
        return refuse(call, "unread data in buffer");
    }
    if call.vm().timers().is_exiting() {
        let shown = std::rc::Rc::as_ptr(&socket);
        let text = "lua tcp socket set keepalive while process exiting, closing connection";
        call.vm().trace(format_args!("{text} {shown:p}"));
        socket.close();
        return call.reply(1);
    }
    let settings = Arc::clone(&socket.settings.borrow());
    let pools = &call.vm().api().sockets.pools;
    let key = socket.key.borrow().clone();
    let pool = match pools.find(&key) {
        Some(pool) => pool,
        None => {
            let size = call.opt_integer(3)?.unwrap_or(settings.pool_size as i64);
            let fits = usize::try_from(size).ok().filter(|it| *it > 0);
            let bad = || {
                let text = format!("bad \"pool_size\" option value: {size}");
                ApiError::argument(count as c_int, text)
            };
            super::connect::open_pool(call, &key, fits.ok_or_else(bad)?, None)
        }
    };
    let keep = call.opt_integer(2)?.map(|it| u64::try_from(it).unwrap_or(0));
    let Some(link) = socket.link.take() else { return refuse(call, "closed") };
    socket.close();
    let keep_ms = keep.unwrap_or(settings.keepalive_timeout_ms);
    match keep_ms {
        0 => call.vm().trace(format_args!("lua tcp socket keepalive timeout: unlimited")),
        _ => call.vm().trace(format_args!("lua tcp socket keepalive timeout: {keep_ms} ms")),
    }
    match pools.put(&pool, link.stream, link.reused, link.lease, keep_ms) {
        Ok(()) => call.reply(1),
        Err(true) => refuse(call, "connection in dubious state"),
        Err(false) => refuse(call, "closed"),
    }
}

/// What an option of a socket is.
#[derive(Clone, Copy)]
enum Choice {
    KeepAlive,
    ReuseAddress,
    NoDelay,
    SendBuffer,
    ReceiveBuffer,
}

/// The option that argument 2 names; otherwise what to answer.
fn choice(call: &Call<'_>) -> Result<Choice, String> {
    if call.is_none(2) {
        return Err("missing the \"option\" argument".to_owned());
    }
    Ok(match call.stack().text(2).unwrap_or_default() {
        b"keepalive" => Choice::KeepAlive,
        b"reuseaddr" => Choice::ReuseAddress,
        b"tcp-nodelay" => Choice::NoDelay,
        b"sndbuf" => Choice::SendBuffer,
        b"rcvbuf" => Choice::ReceiveBuffer,
        other => return Err(format!("unsupported option {}", String::from_utf8_lossy(other))),
    })
}

/// Does `body` with the bare socket.
fn with_options(
    call: &Call<'_>,
    body: impl FnOnce(&socket2::Socket) -> io::Result<i64>,
) -> Result<Result<i64, String>, ApiError> {
    let socket = this::<Tcp>(call)?;
    let link = socket.link.borrow();
    let Some(link) = &*link else { return Ok(Err("closed".to_owned())) };
    let Some(raw) = link.stream.raw() else { return Ok(Err("not supported".to_owned())) };
    Ok(body(&raw.options()).map_err(|error| crate::cosocket::Error::from(error).to_string()))
}

/// # Errors
/// The socket was never connected.
fn check_connected(call: &Call<'_>) -> Result<(), ApiError> {
    if this::<Tcp>(call)?.was_connected.get() {
        return Ok(());
    }
    Err("socket is never created nor connected".into())
}

/// `setoption(name, value)`
pub(super) fn setoption(call: &Call<'_>) -> ApiResult {
    check_connected(call)?;
    let choice = choice(call);
    if choice.is_ok() && call.is_none(3) {
        return refuse(call, "missing the \"value\" argument");
    }
    let choice = match choice {
        Ok(choice) => choice,
        Err(text) => return refuse(call, text),
    };
    let value = call.stack().number(3).unwrap_or(f64::from(u8::from(call.boolean(3))));
    let (on, size) = (value != 0.0, value.max(0.0) as usize);
    let done = with_options(call, |socket| {
        match choice {
            Choice::KeepAlive => socket.set_keepalive(on),
            Choice::ReuseAddress => socket.set_reuse_address(on),
            Choice::NoDelay => socket.set_tcp_nodelay(on),
            Choice::SendBuffer => socket.set_send_buffer_size(size),
            Choice::ReceiveBuffer => socket.set_recv_buffer_size(size),
        }
        .map(|()| 1)
    })?;
    match done {
        Ok(_) => call.reply(true),
        Err(text) => refuse(call, text),
    }
}

/// `getoption(name)`
pub(super) fn getoption(call: &Call<'_>) -> ApiResult {
    check_connected(call)?;
    let choice = match choice(call) {
        Ok(choice) => choice,
        Err(text) => return refuse(call, text),
    };
    let read = with_options(call, |socket| {
        Ok(match choice {
            Choice::KeepAlive => i64::from(socket.keepalive()?),
            Choice::ReuseAddress => i64::from(socket.reuse_address()?),
            Choice::NoDelay => i64::from(socket.tcp_nodelay()?),
            Choice::SendBuffer => socket.send_buffer_size()? as i64,
            Choice::ReceiveBuffer => socket.recv_buffer_size()? as i64,
        })
    })?;
    match read {
        Ok(value) => call.reply(value),
        Err(text) => refuse(call, text),
    }
}
