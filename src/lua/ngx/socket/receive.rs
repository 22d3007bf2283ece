//! `tcpsock:receive`, `receiveany` and `receiveuntil`.

use super::Side;
use super::Tcp;
use super::Teller;
use super::failed;
use super::refuse;
use super::this;
use crate::cosocket::Error;
use crate::cosocket::Reader;
use crate::cosocket::Settings;
use crate::cosocket::until::Until;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::call::Reply;
use crate::lua::ffi::object::Object;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::ffi::value::Values;
use smallvec::smallvec;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

impl Tcp {
    /// Reads until `reader` has what it wants.
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        size: usize,
    ) -> Poll<Result<(), Error>> {
        let mut link = self.link.borrow_mut();
        let Some(link) = &mut *link else { return Poll::Ready(Err(Error::Closed)) };
        loop {
            if link.intake.feed(reader) {
                return Poll::Ready(Ok(()));
            }
            match link.stream.poll_read(cx, link.intake.room(size)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) if reader.ends_with_input() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Error::Closed)),
                Poll::Ready(Ok(count)) => link.intake.filled(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// What a read that ended with `result` gives the script.
    fn received(&self, result: Result<(), Error>, reader: Reader) -> Values {
        let Err(error) = result else { return smallvec![Owned::Bytes(reader.into_got())] };
        if !matches!(error, Error::Timeout) {
            // It can still be written to.
            self.read_closed.set(true);
        }
        let mut values = failed(&error);
        values.push(Owned::Bytes(reader.into_got()));
        values
    }
}

impl Tcp {
    fn read_patience_ms(&self, settings: &Settings) -> u64 {
        self.timeouts.get().read.unwrap_or(settings.read_timeout_ms)
    }
}

/// The socket in argument 1, if it can be read from now; otherwise what to answer.
fn readable(call: &Call<'_>) -> Result<Result<Rc<Tcp>, &'static str>, ApiError> {
    let socket = this::<Tcp>(call)?;
    if !socket.is_open() || socket.read_closed.get() {
        let teller = Teller::new(call, &socket.settings.borrow());
        teller.say(format_args!(
            "attempt to receive data on a closed socket: u:{:p}, c:{:p}, ft:0 eof:0",
            Rc::as_ptr(&socket),
            std::ptr::null::<u8>(),
        ));
        return Ok(Err("closed"));
    }
    super::check_owner(call, &socket.owner)?;
    Ok(socket.busy(&[Side::Connect, Side::Read]).map_or(Ok(socket), Err))
}

/// Reads now, or waits for it.
fn read(call: &Call<'_>, socket: Rc<Tcp>, mut reader: Reader) -> ApiResult {
    let patience_ms = socket.read_patience_ms(&socket.settings.borrow());
    call.vm().trace(format_args!("lua tcp socket read timeout: {patience_ms}"));
    let at_once = socket.link.borrow_mut().as_mut().and_then(|it| it.intake.at_once(&reader));
    if let Some(got) = at_once {
        return call.reply(&got[..]);
    }
    let settings = socket.settings.borrow().clone();
    let size = settings.buffer_size;
    let waker = call.vm().waker();
    let waker = waker.as_ref().unwrap_or(Waker::noop());
    let polled = socket.poll_receive(&mut Context::from_waker(waker), &mut reader, size);
    if let Poll::Ready(result) = polled {
        return match result {
            Ok(()) => call.reply(reader.got()),
            result => call.reply(socket.received(result, reader)),
        };
    }
    call.check_yieldable()?;
    let patience = Duration::from_millis(patience_ms);
    let teller = Teller::new(call, &settings);
    call.suspend(async move {
        let busy = socket.begin(Side::Read);
        let mut sleep = pin!(tokio::time::sleep(patience));
        let mut had = reader.got().len();
        let result = poll_fn(|cx| {
            if let Poll::Ready(result) = socket.poll_receive(cx, &mut reader, size) {
                return Poll::Ready(result);
            }
            if reader.got().len() != had {
                had = reader.got().len();
                // A script may have changed it meanwhile.
                let patience = Duration::from_millis(socket.read_patience_ms(&settings));
                sleep.as_mut().reset(tokio::time::Instant::now() + patience);
            }
            sleep.as_mut().poll(cx).map(|()| Err(Error::Timeout))
        })
        .await;
        if matches!(result, Err(Error::Timeout)) {
            teller.say(format_args!("lua tcp socket read timed out"));
        }
        busy.done();
        socket.received(result, reader)
    })
}

/// `receive(pattern?)`: `*l` (the usual one), `*a`, or a number of bytes.
pub(super) fn receive(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 1 && count != 2 {
        let text = "expecting 1 or 2 arguments (including the object), but got";
        return Err(format!("{text} {count}").into());
    }
    let socket = match readable(call)? {
        Ok(socket) => socket,
        Err(text) => return refuse(call, text),
    };
    if count == 1 {
        return read(call, socket, Reader::line());
    }
    let bad = || ApiError::argument(2, "bad pattern argument");
    if let Some(number) = call.stack().number(2) {
        return match usize::try_from(number as i64) {
            Ok(0) => call.reply(""),
            Ok(bytes) => read(call, socket, Reader::exactly(bytes)),
            Err(_) => Err(bad()),
        };
    }
    let reader = match call.value(2) {
        Value::Bytes(b"*l") => Reader::line(),
        Value::Bytes(b"*a") => Reader::all(),
        Value::Bytes([b'*', _]) => return Err(bad()),
        Value::Bytes(other) => {
            let text = String::from_utf8_lossy(other);
            return Err(ApiError::argument(2, format!("bad pattern argument: {text}")));
        }
        _ => return Err(bad()),
    };
    read(call, socket, reader)
}

/// `receiveany(max)`: what has come, at most `max` bytes.
pub(super) fn receiveany(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 2 {
        let text = "expecting 2 arguments (including the object), but got";
        return Err(format!("{text} {count}").into());
    }
    let socket = match readable(call)? {
        Ok(socket) => socket,
        Err(text) => return refuse(call, text),
    };
    let most = call.stack().number(2).and_then(|it| usize::try_from(it as i64).ok());
    match most {
        Some(most) if most > 0 => {
            let text = "lua tcp socket calling receiveany() method to read at most";
            call.vm().trace(format_args!("{text} {most} bytes"));
            call.vm().trace(format_args!("lua tcp socket read any"));
            read(call, socket, Reader::any(most))
        }
        _ => Err(ApiError::argument(2, "bad max argument")),
    }
}

/// `set_iterator(function)`: what makes an iterator of a socket and its state.
pub(super) fn set_iterator(call: &Call<'_>) -> ApiResult {
    call.check(1, Kind::Function)?;
    call.stack().push_copy(1);
    let _ = call.vm().api().sockets.iterator.set(call.stack().anchor());
    call.reply(())
}

/// `receiveuntil(pattern, options?)`: an iterator.
pub(super) fn receiveuntil(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 2 && count != 3 {
        let text = "expecting 2 or 3 arguments (including the object), but got";
        return Err(format!("{text} {count}").into());
    }
    let mut inclusive = false;
    if count == 3 {
        let options = call.table(3)?;
        match options.get("inclusive") {
            Value::Nil => {}
            Value::Boolean(given) => inclusive = given,
            other => {
                let kind = other.kind().name();
                return Err(format!("bad \"inclusive\" option value type: {kind}").into());
            }
        }
    }
    call.check(1, Kind::Table)?;
    let pattern = call.bytes(2)?;
    if pattern.is_empty() {
        return refuse(call, "pattern is empty");
    }
    let make = &call.vm().api().sockets.iterator;
    call.stack().push_anchored(make.get().ok_or("the VM is being built")?);
    call.stack().push_copy(1);
    call.stack().push(Object(Rc::new(RefCell::new(Until::new(pattern, inclusive)))));
    call.invoke(2, 1)?;
    Ok(Reply::Values(1))
}

/// `receive_until(socket, state, size?)`: a turn of that iterator.
pub(super) fn receive_until(call: &Call<'_>) -> ApiResult {
    let count = call.count() - 2;
    if count > 1 {
        return Err(format!("expecting 0 or 1 arguments, but seen {count}").into());
    }
    let size = if count == 1 {
        let size = call.stack().number(3).ok_or_else(|| {
            let kind = call.kind(3).name();
            ApiError::Argument(1, format!("number expected, got {kind}").into_bytes().into())
        })?;
        usize::try_from(size as i64).unwrap_or(0)
    } else {
        0
    };
    let socket = match readable(call)? {
        Ok(socket) => socket,
        Err(text) => return refuse(call, text),
    };
    let until: Rc<RefCell<Until>> = call.stack().object(2).ok_or(ApiError::from("bad request"))?;
    if until.borrow_mut().take_over() {
        return call.reply((None::<bool>, None::<bool>, None::<bool>));
    }
    read(call, socket, Reader::until(until, size))
}
