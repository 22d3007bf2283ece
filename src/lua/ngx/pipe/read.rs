//! `stdout_read_*` and `stderr_read_*`: what a child says.

use super::Spawned;
use super::Trace;
use super::failed;
use super::refuse;
use super::stream::Fault;
use super::stream::Inlet;
use super::stream::Patience;
use super::this;
use super::timeouts::Wait;
use super::traced;
use crate::cosocket::Reader;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::value::Owned;
use smallvec::smallvec;
use std::future::poll_fn;
use std::task::Poll;

/// Which stream is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Stdout,
    Stderr,
}

impl Spawned {
    fn inlet(&self, from: Source) -> &Inlet {
        match from {
            Source::Stdout => &self.stdout,
            Source::Stderr => &self.stderr,
        }
    }
}

/// Reads what `reader` wants; else nil, why not, and what was read.
fn read(call: &Call<'_>, from: Source, mut reader: Reader) -> ApiResult {
    let child = traced(call, "read")?;
    if child.is_closed.get() {
        return refuse(call, "closed");
    }
    if child.merges && from == Source::Stderr {
        return refuse(call, "merged to stdout");
    }
    let (wait, doing) = match from {
        Source::Stdout => (Wait::ReadStdout, "read stdout"),
        Source::Stderr => (Wait::ReadStderr, "read stderr"),
    };
    let side = &child.inlet(from).side;
    if side.is_closed() {
        return refuse(call, "closed");
    }
    if side.is_busy() {
        return refuse(call, "pipe busy reading");
    }
    let limit = call.vm().options().memory_limit_bytes;
    let sizes = (child.buffer_size, if limit == 0 { usize::MAX } else { limit });
    let mut patience = Patience::new(child.timeouts.of(wait));
    let trace = Trace::new(call, doing);
    call.suspend(async move {
        let inlet = child.inlet(from);
        let _busy = inlet.side.begin();
        let result = poll_fn(|cx| {
            if let Poll::Ready(result) = inlet.poll_read(cx, &mut reader, sizes) {
                return Poll::Ready(result);
            }
            patience.poll_over(cx, reader.got().len()).map(|()| Err(Fault::Timeout))
        })
        .await;
        trace.over();
        match result {
            Ok(()) => smallvec![Owned::Bytes(reader.into_got())],
            // What does not fit cannot be given in part either.
            Err(Fault::NoMemory) => failed(&Fault::NoMemory),
            Err(fault) => {
                let mut values = failed(&fault);
                values.push(Owned::Bytes(reader.into_got()));
                values
            }
        }
    })
}

/// All until the child closes its end.
fn read_all(call: &Call<'_>, from: Source) -> ApiResult {
    read(call, from, Reader::all())
}

/// A line, without its end.
fn read_line(call: &Call<'_>, from: Source) -> ApiResult {
    read(call, from, Reader::line())
}

/// So many bytes.
fn read_bytes(call: &Call<'_>, from: Source) -> ApiResult {
    this(call)?;
    let count = call.number(2)?;
    if count < 0.0 {
        return Err("bad len argument".into());
    }
    match count as usize {
        0 => call.reply(""),
        count => read(call, from, Reader::exactly(count)),
    }
}

/// What has come, at most so many bytes.
fn read_any(call: &Call<'_>, from: Source) -> ApiResult {
    this(call)?;
    let most = call.stack().number(2).filter(|_| call.count() > 1);
    match most.map(|it| it as usize) {
        Some(most) if most > 0 => read(call, from, Reader::any(most)),
        _ => Err("bad max argument".into()),
    }
}

macro_rules! readers {
    ($($name:ident: $body:ident $from:ident;)*) => {
        $(pub fn $name(call: &Call<'_>) -> ApiResult {
            $body(call, Source::$from)
        })*
    };
}

readers! {
    stdout_read_all: read_all Stdout;
    stdout_read_any: read_any Stdout;
    stdout_read_bytes: read_bytes Stdout;
    stdout_read_line: read_line Stdout;
    stderr_read_all: read_all Stderr;
    stderr_read_any: read_any Stderr;
    stderr_read_bytes: read_bytes Stderr;
    stderr_read_line: read_line Stderr;
}
