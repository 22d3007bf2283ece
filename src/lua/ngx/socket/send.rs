//! `tcpsock:send`.

use super::Side;
use super::Tcp;
use super::Teller;
use super::failed;
use super::refuse;
use super::this;
use crate::cosocket::Error;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::ffi::value::Values;
use crate::lua::ngx::output::append_table;
use smallvec::smallvec;
use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

impl Tcp {
    /// Writes what is left of `bytes` behind the first `sent`.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        sent: &mut usize,
    ) -> Poll<Result<(), Error>> {
        let mut link = self.link.borrow_mut();
        let Some(link) = &mut *link else { return Poll::Ready(Err(Error::Closed)) };
        while *sent < bytes.len() {
            match link.stream.poll_write(cx, &bytes[*sent..]) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) => *sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn sent(&self, result: Result<(), Error>, length: usize) -> Values {
        match result {
            Ok(()) => smallvec![Owned::Number(length as f64)],
            Err(error) => {
                self.write_closed.set(true);
                failed(&error)
            }
        }
    }
}

/// The bytes that argument 2 stands for.
///
/// # Errors
/// What it is that cannot be sent.
pub(super) fn payload<'a>(call: &Call<'a>) -> Result<Cow<'a, [u8]>, ApiError> {
    let mut out = Vec::new();
    match call.value(2) {
        Value::Bytes(bytes) => return Ok(Cow::Borrowed(bytes)),
        Value::Number(number) => call.stack().append_number(number, &mut out),
        Value::Nil => out.extend_from_slice(b"nil"),
        Value::Boolean(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Table(table) => {
            append_table(&table, true, 0, &mut out).map_err(|text| ApiError::argument(2, text))?
        }
        other => {
            let text = "string, number, boolean, nil, or array table expected, got";
            return Err(ApiError::argument(2, format!("{text} {}", other.kind().name())));
        }
    }
    Ok(Cow::Owned(out))
}

/// `send(text)`: a string, a number, or tables of these.
pub(super) fn send(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 2 {
        let text = "expecting 2 arguments (including the object), but got";
        return Err(format!("{text} {count}").into());
    }
    let socket = this::<Tcp>(call)?;
    let settings = socket.settings.borrow().clone();
    if !socket.is_open() || socket.write_closed.get() {
        Teller::new(call, &settings).say(format_args!(
            "attempt to send data on a closed socket: u:{:p}, c:{:p}, ft:0 eof:0",
            Rc::as_ptr(&socket),
            std::ptr::null::<u8>(),
        ));
        return refuse(call, "closed");
    }
    super::check_owner(call, &socket.owner)?;
    if let Some(text) = socket.busy(&[Side::Connect, Side::Write]) {
        return refuse(call, text);
    }
    let bytes = payload(call)?;
    let patience_ms = socket.timeouts.get().send.unwrap_or(settings.send_timeout_ms);
    call.vm().trace(format_args!("lua tcp socket send timeout: {patience_ms}"));
    let waker = call.vm().waker();
    let waker = waker.as_ref().unwrap_or(Waker::noop());
    let mut sent = 0;
    let polled = socket.poll_send(&mut Context::from_waker(waker), &bytes, &mut sent);
    if let Poll::Ready(result) = polled {
        return call.reply(socket.sent(result, bytes.len()));
    }
    call.check_yieldable()?;
    let length = bytes.len();
    let rest = bytes[sent..].to_vec();
    let patience = Duration::from_millis(patience_ms);
    let teller = Teller::new(call, &settings);
    call.suspend(async move {
        let busy = socket.begin(Side::Write);
        let mut sleep = pin!(tokio::time::sleep(patience));
        let mut sent = 0;
        let result = poll_fn(|cx| {
            let before = sent;
            if let Poll::Ready(result) = socket.poll_send(cx, &rest, &mut sent) {
                return Poll::Ready(result);
            }
            if sent != before {
                sleep.as_mut().reset(tokio::time::Instant::now() + patience);
            }
            sleep.as_mut().poll(cx).map(|()| Err(Error::Timeout))
        })
        .await;
        if matches!(result, Err(Error::Timeout)) {
            teller.say(format_args!("lua tcp socket write timed out"));
        }
        busy.done();
        socket.sent(result, length)
    })
}
