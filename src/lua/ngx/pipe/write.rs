//! `write`: what a child reads.

use super::Trace;
use super::failed;
use super::refuse;
use super::stream;
use super::stream::Fault;
use super::stream::Patience;
use super::timeouts::Wait;
use super::traced;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use smallvec::smallvec;
use std::future::poll_fn;
use std::task::Poll;

/// `write(text)`: how many bytes it took, or nil and why not all.
pub fn write(call: &Call<'_>) -> ApiResult {
    let child = traced(call, "write")?;
    let bytes = payload(call)?;
    if child.is_closed.get() || child.stdin.is_closed() {
        return refuse(call, "closed");
    }
    if child.stdin.is_busy() {
        return refuse(call, "pipe busy writing");
    }
    let mut patience = Patience::new(child.timeouts.of(Wait::Write));
    let trace = Trace::new(call, "write");
    call.suspend(async move {
        let _busy = child.stdin.begin();
        let mut sent = 0;
        let result = poll_fn(|cx| {
            if let Poll::Ready(result) = stream::poll_write(&child.stdin, cx, &bytes, &mut sent) {
                return Poll::Ready(result);
            }
            patience.poll_over(cx, sent).map(|()| Err(Fault::Timeout))
        })
        .await;
        trace.over();
        match result {
            Ok(()) => smallvec![Owned::Number(bytes.len() as f64)],
            Err(fault) => failed(&fault),
        }
    })
}

/// The bytes that argument 2 stands for: a string, a number, or a list of these.
fn payload(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::new();
    let stack = call.stack();
    let mut append = |value: Value<'_>, index: usize| match value {
        Value::Bytes(bytes) => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        Value::Number(number) => {
            stack.append_number(number, &mut out);
            Ok(())
        }
        other => Err((other.kind().name(), index)),
    };
    match call.value(2) {
        Value::Table(list) => {
            for index in 1..=list.len() {
                let base = stack.top();
                append(list.get(index as f64), index).map_err(|(kind, index)| {
                    format!("invalid value ({kind}) at index {index} in table for 'concat'")
                })?;
                stack.trim(base);
            }
        }
        other => append(other, 0).map_err(|(kind, _)| {
            format!("bad data arg: string, number, or table expected, got {kind}")
        })?,
    }
    Ok(out)
}
