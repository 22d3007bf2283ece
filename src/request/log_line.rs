//! Lines of the error log about a request: nginx's context behind the message.

use super::Request;
use crate::log::Level;
use crate::log::Line;
use std::fmt;

impl Request {
    /// Whether a line of `level` would be written.
    pub fn logs(&self, level: Level) -> bool {
        self.conf().error_log.enabled(level)
    }

    /// Writes a line about this request.
    #[cold]
    pub fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        let context = |line: &mut Line| self.context(line);
        let serial = (!self.is_fake).then_some(self.connection.serial);
        self.conf().error_log.write(level, serial, message, Some(&context));
    }

    /// Writes a line of any bytes about this request.
    #[cold]
    pub fn log_bytes(&self, level: Level, message: &[u8]) {
        let context = |line: &mut Line| self.context(line);
        let serial = (!self.is_fake).then_some(self.connection.serial);
        self.conf().error_log.write_bytes(level, serial, message, Some(&context));
    }

    /// `, client: …, server: …, request: "…", upstream: "…", host: "…"`.
    fn context(&self, line: &mut Line) {
        if self.is_fake {
            line.raw(b", context: ").raw(self.context.get().as_bytes());
            if self.connection.serial != 0 {
                line.field("client", self.connection.client.host());
                line.field("server", self.connection.listener.as_bytes());
            }
            return;
        }
        line.field("client", self.connection.client.host());
        line.field("server", self.snapshot.server(self.server.get()).name.as_bytes());
        line.quoted("request", &self.line);
        if self.is_subrequest() {
            let uri = self.uri.try_borrow().map(|it| it.clone()).unwrap_or_default();
            line.quoted("subrequest", &uri);
        }
        // A log line may be written while an attempt is being changed.
        if let Ok(attempts) = self.attempts.try_borrow()
            && let Some(attempt) = attempts.0.last()
        {
            let (grpc, tls) = (self.conf().proxy.grpc, self.upstream_is_tls.get());
            let uri = self.uri.try_borrow().map(|it| it.clone()).unwrap_or_default();
            let (scheme, uri) = match (grpc, tls) {
                (false, false) => (&b"http://"[..], &uri[..]),
                (false, true) => (&b"https://"[..], &uri[..]),
                // gRPC replaces nothing of the URI, and nginx does not show it.
                (true, false) => (&b"grpc://"[..], &b""[..]),
                (true, true) => (&b"grpcs://"[..], &b""[..]),
            };
            let url = [scheme, attempt.peer.as_bytes(), uri].concat();
            line.quoted("upstream", url);
        }
        if let Ok(headers) = self.headers.try_borrow()
            && let Some(host) = headers.get(b"host")
        {
            line.quoted("host", host);
        }
    }
}
