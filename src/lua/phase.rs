//! OpenResty's phases, and the one table of which API may run in which of them.

/// What Lua code is running for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// `init_by_lua*`, once a VM.
    Init,
    /// `init_worker_by_lua*`.
    InitWorker,
    /// `exit_worker_by_lua*`.
    ExitWorker,
    /// `set_by_lua*`.
    Set,
    /// `server_rewrite_by_lua*`.
    ServerRewrite,
    /// `rewrite_by_lua*`.
    Rewrite,
    /// `access_by_lua*`.
    Access,
    /// `content_by_lua*`.
    Content,
    /// `balancer_by_lua*`.
    Balancer,
    /// `header_filter_by_lua*`.
    HeaderFilter,
    /// `body_filter_by_lua*`.
    BodyFilter,
    /// `log_by_lua*`.
    Log,
    /// The callback of `ngx.timer.at` or `ngx.timer.every`.
    Timer,
    /// `ssl_certificate_by_lua*`.
    SslCertificate,
    /// `ssl_client_hello_by_lua*`.
    SslClientHello,
    /// `ssl_session_fetch_by_lua*`.
    SslSessionFetch,
    /// `ssl_session_store_by_lua*`.
    SslSessionStore,
    /// A function that `ngx.run_worker_thread` runs on a thread of its own.
    WorkerThread,
}

impl Phase {
    /// As `API disabled in the context of …` names it.
    pub fn context(self) -> &'static str {
        match self {
            Self::Init => "init_by_lua*",
            Self::InitWorker => "init_worker_by_lua*",
            Self::ExitWorker => "exit_worker_by_lua*",
            Self::Set => "set_by_lua*",
            Self::ServerRewrite => "server_rewrite_by_lua*",
            Self::Rewrite => "rewrite_by_lua*",
            Self::Access => "access_by_lua*",
            Self::Content => "content_by_lua*",
            Self::Balancer => "balancer_by_lua*",
            Self::HeaderFilter => "header_filter_by_lua*",
            Self::BodyFilter => "body_filter_by_lua*",
            Self::Log => "log_by_lua*",
            Self::Timer => "ngx.timer",
            Self::SslCertificate => "ssl_certificate_by_lua*",
            Self::SslClientHello => "ssl_client_hello_by_lua*",
            Self::SslSessionFetch => "ssl_session_fetch_by_lua*",
            Self::SslSessionStore => "ssl_session_store_by_lua*",
            Self::WorkerThread => "ngx.run_worker_thread",
        }
    }

    /// What `ngx.get_phase()` answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::SslCertificate => "ssl_cert",
            Self::Timer => "timer",
            Self::WorkerThread => "worker_thread",
            other => other.context().trim_end_matches("_by_lua*"),
        }
    }

    /// Whether code of this phase runs in a coroutine of its own and may wait.
    pub fn yields(self) -> bool {
        Phases::YIELDING.contains(self)
    }
}

/// A set of phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases(u32);

impl Phases {
    /// The set of `phases`.
    pub const fn of(phases: &[Phase]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < phases.len() {
            bits |= 1 << phases[i] as u32;
            i += 1;
        }
        Self(bits)
    }

    /// Both sets together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without those of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `phase` belongs to the set.
    pub const fn contains(self, phase: Phase) -> bool {
        self.0 & (1 << phase as u32) != 0
    }

    /// Everywhere.
    pub const ANY: Self = Self(u32::MAX);
    /// TLS hooks.
    pub const SSL: Self = Self::of(&[
        Phase::SslCertificate,
        Phase::SslClientHello,
        Phase::SslSessionFetch,
        Phase::SslSessionStore,
    ]);
    /// Those that handle a request before its response starts and may wait: rewrite, access,
    /// content (`ngx.say`, `ngx.exec`, `ngx.req.read_body` …).
    pub const HANDLERS: Self =
        Self::of(&[Phase::ServerRewrite, Phase::Rewrite, Phase::Access, Phase::Content]);
    /// Those that may wait (`ngx.sleep`, cosockets, `ngx.thread`).
    pub const YIELDING: Self = Self::HANDLERS.and(Self::of(&[
        Phase::Timer,
        Phase::SslCertificate,
        Phase::SslClientHello,
        Phase::SslSessionFetch,
    ]));
    /// Those with a response to filter or to log.
    pub const FILTERS: Self = Self::of(&[Phase::HeaderFilter, Phase::BodyFilter, Phase::Log]);
    /// Those with a client's request: `ngx.var`, `ngx.req.get_headers`.
    pub const REQUEST: Self =
        Self::HANDLERS.and(Self::FILTERS).and(Self::of(&[Phase::Set, Phase::Balancer]));
    /// Those whose code may start programs (`ngx.pipe`): `init_by_lua*` is told by the function.
    pub const CHILDREN: Self = Self::ANY.without(Self::of(&[Phase::WorkerThread]));
    /// Those whose code may start timers: all but init, exit and threads
    /// without an event loop.
    pub const TIMERS: Self =
        Self::ANY.without(Self::of(&[Phase::Init, Phase::ExitWorker, Phase::WorkerThread]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_named_as_openresty_names_them() {
        assert_eq!(Phase::Content.name(), "content");
        assert_eq!(Phase::HeaderFilter.name(), "header_filter");
        assert_eq!(Phase::SslCertificate.name(), "ssl_cert");
        assert_eq!(Phase::SslClientHello.name(), "ssl_client_hello");
        assert_eq!(Phase::Timer.name(), "timer");
        assert_eq!(Phase::Timer.context(), "ngx.timer");
        assert_eq!(Phase::ExitWorker.name(), "exit_worker");
    }

    #[test]
    fn sets_hold_what_they_say() {
        assert!(Phases::YIELDING.contains(Phase::Timer));
        assert!(!Phases::YIELDING.contains(Phase::HeaderFilter));
        assert!(!Phases::YIELDING.contains(Phase::SslSessionStore));
        assert!(Phases::REQUEST.contains(Phase::Balancer));
        assert!(!Phases::REQUEST.contains(Phase::Timer));
        assert!(!Phases::TIMERS.contains(Phase::Init));
    }
}
