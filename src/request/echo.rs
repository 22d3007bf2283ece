//! What echo-nginx-module keeps for a request, and its variables.

use super::evaluate::put;
use super::{Body, Request, Version};
use crate::clock;
use crate::clock::Tick;
use crate::http::number::{decimal_into, seconds_into};
use crate::vars::Builtin;
use bytes::Bytes;

/// The module's context.
#[derive(Debug, Default)]
pub struct State {
    /// When `$echo_timer_elapsed` began, where that is not the request's begin.
    pub began: Option<Tick>,
    /// `$echo_it`
    pub part: Option<Bytes>,
    /// `$echo_incr`
    pub count: u64,
    /// `echo_before_body` was said.
    pub said_before: bool,
}

impl Request {
    /// Changes what the echo module keeps.
    pub fn with_echo<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(self.echo.borrow_mut().get_or_insert_with(Box::default))
    }

    /// The module's variables; `None` for one that is not its.
    pub(super) fn append_echo(&self, builtin: Builtin, out: &mut Vec<u8>) -> Option<bool> {
        use Builtin as B;
        Some(match builtin {
            B::EchoRequestUri | B::EchoCacheableRequestUri => {
                let uri = self.uri.borrow();
                !uri.is_empty() && put(Some(&uri), out)
            }
            B::EchoRequestMethod => put(Some(&self.method.borrow()), out),
            B::EchoClientRequestMethod => put(Some(&self.main().method.borrow()), out),
            B::EchoClientRequestHeaders => self.append_head(out),
            B::EchoRequestBody => match &*self.body.borrow() {
                Body::Memory(bytes) if !bytes.is_empty() => put(Some(bytes), out),
                _ => false,
            },
            B::EchoTimerElapsed => {
                clock::update();
                let began = self.echo.borrow().as_ref().and_then(|it| it.began);
                let elapsed = clock::monotonic().ms_since(began.unwrap_or(self.started));
                seconds_into(out, elapsed);
                true
            }
            B::EchoIt => {
                let part = self.echo.borrow().as_ref().and_then(|it| it.part.clone());
                put(part.as_deref(), out)
            }
            B::EchoIncr => {
                let count = self.main().with_echo(|it| {
                    it.count += 1;
                    it.count
                });
                decimal_into(out, count);
                true
            }
            B::EchoResponseStatus => {
                let status = self.response.borrow().status;
                if status > 0 {
                    decimal_into(out, u64::from(status));
                }
                status > 0
            }
            _ => return None,
        })
    }

    /// Request line and fields as they came, with the empty line; HTTP/1 only.
    fn append_head(&self, out: &mut Vec<u8>) -> bool {
        if self.version > Version::Http11 {
            return false;
        }
        if let Some(head) = &*self.raw_head.borrow() {
            return put(Some(head), out);
        }
        out.extend_from_slice(&self.line);
        out.extend_from_slice(b"\r\n");
        for (name, value) in self.headers.borrow().iter() {
            for part in [&name[..], b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
        true
    }
}
