//! Variables with a parameter in their name: `$arg_x`, `$http_x`, `$cookie_x`, `$sent_http_x`, …

use super::Request;
use super::evaluate::put;
use crate::clock;
use crate::http::args;
use crate::http::cookie;
use crate::vars::Var;
use std::io::Write;

impl Request {
    pub(super) fn append_parametric(&self, var: &Var, out: &mut Vec<u8>) -> bool {
        match var {
            Var::Arg(name) => {
                let args = self.args.borrow();
                put(args.as_deref().and_then(|it| args::find(it, name)), out)
            }
            Var::Http(name) => put(self.headers.borrow().request_variable(name).as_deref(), out),
            Var::Cookie(name) => {
                let headers = self.headers.borrow();
                let fields = headers.all(b"cookie").map(|it| &**it);
                put(cookie::find(fields, name), out)
            }
            Var::SentHttp(name) => self.append_sent(name, out),
            Var::UpstreamHttp(name) => {
                put(self.upstream_headers.borrow().variable(name).as_deref(), out)
            }
            Var::SentTrailer(name) => {
                put(self.response.borrow().trailers.response_variable(name).as_deref(), out)
            }
            Var::UpstreamTrailer(name) => {
                put(self.upstream_trailers.borrow().response_variable(name).as_deref(), out)
            }
            Var::UpstreamCookie(name) => {
                let headers = self.upstream_headers.borrow();
                let pairs = headers.all(b"set-cookie");
                let pairs = pairs.map(|it| it.split(|byte| *byte == b';').next().unwrap_or(it));
                put(cookie::find(pairs, name), out)
            }
            _ => false,
        }
    }

    /// A response header; those with a place of their own are made up as they will be written.
    fn append_sent(&self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let head = self.response.borrow();
        match name {
            b"content_type" => put(head.content_type.as_deref().filter(|it| !it.is_empty()), out),
            b"content_length" => {
                head.content_length.is_some_and(|length| write!(out, "{length}").is_ok())
            }
            b"location" if head.location.is_some() => put(head.location.as_deref(), out),
            b"last_modified" if head.last_modified.is_some() => {
                let text = head.last_modified.map(clock::http_date_of);
                put(text.as_ref().map(|it| it.as_bytes()), out)
            }
            b"connection" => {
                let close = head.closes.unwrap_or(false);
                put(Some(if close { b"close" } else { b"keep-alive" }), out)
            }
            b"transfer_encoding" => head.chunked && put(Some(b"chunked"), out),
            _ => put(head.headers.response_variable(name).as_deref(), out),
        }
    }
}
