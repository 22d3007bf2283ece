//! Requests for tests of the API: a configuration in nginx's syntax, a request from its text, a
//! host that writes down what is sent.

use crate::clock;
use crate::config;
use crate::http::headers::Headers;
use crate::http::uri;
use crate::log;
use crate::log::ErrorLog;
use crate::log::Level;
use crate::log::Target;
use crate::lua::fixture;
use crate::lua::host::Host;
use crate::lua::outcome::Downstream;
use crate::lua::outcome::Failure;
use crate::lua::outcome::Outcome;
use crate::lua::outcome::Step;
use crate::lua::phase::Phase;
use crate::lua::run::SyncEnd;
use crate::lua::vm::Vm;
use crate::request::Body;
use crate::request::Connection;
use crate::request::Parts;
use crate::request::Request;
use crate::request::Version;
use crate::request::connection::Address;
use crate::snapshot::Snapshot;
use crate::snapshot::build::Inputs;
use crate::snapshot::build::build;
use crate::snapshot::router::Found;
use crate::upstream::Addresses;
use crate::upstream::Registry;
use bytes::Bytes;
use std::cell::RefCell;
use std::cell::{Cell, OnceCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Writes down heads and bodies.
#[derive(Debug, Default)]
pub struct Recorder {
    pub body: RefCell<Vec<u8>>,
}

impl Host for Recorder {
    fn send_headers(&self, _: &Vm, request: &Rc<Request>) -> Result<(), String> {
        let mut response = request.response.borrow_mut();
        if response.status == 0 {
            response.status = 200;
        }
        request.headers_sent.set(true);
        Ok(())
    }

    fn send_body(
        &self,
        vm: &Vm,
        request: &Rc<Request>,
        chunk: &[u8],
        _: bool,
    ) -> Result<(), String> {
        self.send_headers(vm, request)?;
        self.body.borrow_mut().extend_from_slice(chunk);
        Ok(())
    }
}

/// A VM, its host and a request.
pub struct World {
    pub vm: Rc<Vm>,
    pub host: Rc<Recorder>,
    pub request: Rc<Request>,
    /// What `ngx.req.read_body()` finds.
    pub unread: RefCell<Bytes>,
    pub flushed: Cell<u32>,
    pub log: tempfile::NamedTempFile,
}

/// The snapshot of a server with `directives`.
pub fn snapshot(directives: &str, error_log: ErrorLog) -> Arc<Snapshot> {
    let text = format!(
        "events {{}}\nhttp {{\naccess_log off; client_body_temp_path /tmp;\nserver {{\n\
         listen 127.0.0.1:8080; server_name localhost;\n{directives}\n}}\n}}\n"
    );
    let loaded = config::load_text("nginx.conf", &text, None).unwrap();
    let registry = Registry::new();
    let inputs = Inputs {
        model: Arc::new(loaded.model),
        prefix: Path::new("/tmp/"),
        base: Path::new("/tmp/"),
        generation: 1,
        upstreams: &registry,
        rollouts: &Default::default(),
        limits: &Default::default(),
        addresses: &Addresses::default(),
        error_log,
        compile: &|_| Ok(()),
    };
    match build(&inputs) {
        Ok((snapshot, _)) => Arc::new(snapshot),
        Err(diagnostics) => panic!("{diagnostics:?}"),
    }
}

/// A request: `GET /path?args HTTP/1.1` and its header lines.
pub fn request(snapshot: Arc<Snapshot>, text: &str) -> Rc<Request> {
    static SERIAL: AtomicU64 = AtomicU64::new(1_000_000);
    let mut lines = text.lines();
    let line = lines.next().unwrap();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let version = match words.next() {
        None | Some("HTTP/1.1") => Version::Http11,
        Some("HTTP/1.0") => Version::Http10,
        Some(_) => Version::Http2,
    };
    let headers: Headers = lines
        .map(|it| it.split_once(": ").unwrap_or((it.trim_end_matches(':'), "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let target = uri::parse(&Bytes::copy_from_slice(target.as_bytes()), true).unwrap();
    let address = Address::Inet("127.0.0.1:4000".parse().unwrap());
    let connection = Connection {
        serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        client: address.clone(),
        server: address,
        listener: "127.0.0.1:8080".into(),
        accepted: clock::monotonic(),
        requests: Cell::new(1),
        worker: 0,
        tls: OnceCell::new(),
        misses_tls: Cell::new(false),
        closing: Cell::new(false),
        send_timeout_ms: Cell::new(0),
    };
    let (location, captured) = match snapshot.servers[0].router.find(&target.path) {
        Found::Location(id) => (Some(id), None),
        Found::Regex(id, regex) => (Some(id), Some(regex.clone())),
        _ => (None, None),
    };
    let request = Request::new(Parts {
        connection: Rc::new(connection),
        started: clock::monotonic(),
        version,
        line: Bytes::copy_from_slice(line.as_bytes()),
        method: Bytes::copy_from_slice(method.as_bytes()),
        target: target.unparsed,
        uri: target.path,
        args: target.args,
        host: headers.get(b"host").cloned().unwrap_or_default(),
        head_length: text.len() as u64,
        headers,
        server: 0,
        is_fake: false,
        snapshot,
    });
    if let Some(id) = location {
        request.location.set(id);
    }
    if let Some(regex) = captured {
        let uri = request.uri.borrow().clone();
        assert!(request.match_regex(&regex, uri));
    }
    request
}

/// A world with a server of `directives` and a request.
pub fn world(directives: &str, text: &str) -> World {
    let vm = fixture::vm();
    let host = Rc::new(Recorder::default());
    vm.set_host(host.clone());
    let log = tempfile::NamedTempFile::new().unwrap();
    let target = Target::File(log.path().to_owned());
    let error_log = ErrorLog::open(&[(target, Level::Info)]).unwrap();
    let request = request(snapshot(directives, error_log), text);
    World { vm, host, request, unread: RefCell::default(), flushed: Cell::new(0), log }
}

/// A world with an empty location `/` and `GET /`.
pub fn plain() -> World {
    world("set $x ''; location / { }", "GET /t?a=1&b=2 HTTP/1.1\nHost: localhost")
}

impl World {
    /// Runs `code` in a phase that may wait.
    pub fn run_in(&self, phase: Phase, code: &str) -> Result<Outcome, Failure> {
        let directive = phase.context().trim_end_matches('*');
        let handler = self.vm.handler(&fixture::chunk(directive, code)).unwrap();
        let mut run = self.vm.run(&handler, Some(self.request.clone()), phase);
        fixture::block_on(async {
            loop {
                match run.next().await {
                    Step::Done(result) => return result,
                    Step::Downstream(op) => {
                        match op {
                            Downstream::ReadBody => {
                                let body = Body::Memory(self.unread.take());
                                self.request.body.replace(body);
                            }
                            Downstream::DiscardBody => {
                                self.request.body.replace(Body::Discarded);
                            }
                            Downstream::Flush => self.flushed.set(self.flushed.get() + 1),
                        }
                        run.resume_downstream(Ok(()));
                    }
                }
            }
        })
    }

    /// Runs `code` as content.
    pub fn run(&self, code: &str) -> Result<Outcome, Failure> {
        self.run_in(Phase::Content, code)
    }

    /// Runs `code` in a phase that does not wait.
    pub fn sync(&self, phase: Phase, code: &str) -> Result<SyncEnd, Failure> {
        let directive = phase.context().trim_end_matches('*');
        let handler = self.vm.handler(&fixture::chunk(directive, code)).unwrap();
        self.vm.call_sync(&handler, Some(self.request.clone()), phase)
    }

    /// What `code` said as content, or its error.
    pub fn said(&self, code: &str) -> String {
        if let Err(failure) = self.run(code) {
            return format!("ERROR {failure}");
        }
        String::from_utf8(self.host.body.take()).unwrap()
    }

    /// What the function body `code` returns in `phase`, each value by `tostring`, tables
    /// as `{key=value;…}`.
    pub fn eval_in(&self, phase: Phase, code: &str) -> String {
        let code = format!(
            "local function show(v) if type(v) ~= 'table' then return tostring(v) end \
             local t = {{}} for k, x in pairs(v) do t[#t + 1] = tostring(k) .. '=' .. show(x) end \
             table.sort(t) return '{{' .. table.concat(t, ';') .. '}}' end \
             local function join(...) local t = {{...}} for i = 1, select('#', ...) do \
             t[i] = show(t[i]) end return table.concat(t, ' | ') end \
             local function try(...) if select('#', ...) == 0 or (...) then return \
             join(select(2, ...)) end return 'ERROR ' .. tostring(select(2, ...)) end \
             rawset(_G, 'OUT', try(pcall(function() {code}\nend)))"
        );
        let result = match phase.yields() {
            true => self.run_in(phase, &code).map(drop),
            false => self.sync(phase, &code).map(drop),
        };
        match result {
            Ok(()) => fixture::global(&self.vm, "OUT"),
            Err(failure) => format!("FAILED {failure}"),
        }
    }

    /// The same as content.
    pub fn eval(&self, code: &str) -> String {
        self.eval_in(Phase::Content, code)
    }

    /// Lines of the error log about this request: level and message.
    pub fn logged(&self) -> Vec<String> {
        let mark = format!("*{} ", self.request.connection.serial);
        let about = |line: &str| {
            let (before, rest) = line.split_once(&mark)?;
            let level = before.split(['[', ']']).nth(1)?;
            let message = rest.split(", client: ").next()?;
            Some(format!("{level}: {message}"))
        };
        log::flush();
        std::fs::read_to_string(self.log.path()).unwrap().lines().filter_map(about).collect()
    }
}
