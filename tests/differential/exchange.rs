//! A case on one side: starts the server, sends what the case says, writes down what came of it.

use crate::case::{Case, Scripted, Step};
use crate::harness::client::{Client, Response};
use crate::harness::head::latin1;
use crate::harness::origin::{Answer, Origin, Received, Reply};
use crate::harness::ports::Refusing;
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::tls::{self, Identity};
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

/// How long an answer may take: a busy machine may leave a server alone for seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is between the client and the server of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// TCP alone.
    Plain,
    /// TLS, with one certificate for all.
    Tls,
}

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::new("localhost"));

/// A connection of either kind.
trait Stream: io::Read + io::Write {}

impl<T: io::Read + io::Write> Stream for T {}

type Connection = Client<Box<dyn Stream>>;

/// The origins of a case, the same ones for both sides.
pub struct Origins {
    running: Vec<(String, Origin, Arc<AtomicUsize>)>,
    dead: Refusing,
}

impl Origins {
    /// Starts those which the case names.
    pub fn start(case: &Case) -> Self {
        let named = |name: &&str| {
            case.texts().any(|text| {
                text.match_indices(&format!("${name}"))
                    .any(|(at, it)| !text[at + it.len()..].starts_with(|it: char| it.is_numeric()))
            })
        };
        let names = ["ORIGIN", "ORIGIN2", "ORIGIN3"].into_iter().filter(named);
        let running = names.map(|name| {
            let script = case.origins.get(name).cloned().unwrap_or_default();
            let next = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&next);
            let origin = Origin::start(move |request| {
                let index = counter.fetch_add(1, Ordering::SeqCst).min(script.len().max(1) - 1);
                answer(&script.get(index).cloned().unwrap_or_default(), request)
            });
            (name.to_owned(), origin, next)
        });
        Self { running: running.collect(), dead: Refusing::start() }
    }

    fn forget(&self) {
        for (_, origin, next) in &self.running {
            origin.take_received();
            next.store(0, Ordering::SeqCst);
        }
    }
}

fn answer(scripted: &Scripted, request: &Received) -> Answer {
    match scripted {
        Scripted::Close => Answer::Close,
        Scripted::Reset => Answer::Reset,
        Scripted::Hang => Answer::Hang,
        Scripted::Reply { head, body, close, delay } => {
            let mut bytes = head.clone();
            if request.method() != "HEAD" {
                bytes.extend(body);
            }
            let parts = vec![bytes];
            Answer::Reply(Reply { parts, delay: *delay, close: *close, ..Reply::default() })
        }
    }
}

/// What happened on one side.
pub struct Record {
    /// What is compared: answers, what the origins were sent, logs/case.log, missing log lines.
    pub text: String,
    /// What error.log tells of failures; it helps to understand a difference.
    pub errors: String,
}

/// Runs a case on one side.
pub fn run(case: &Case, origins: &Origins, kind: Kind, link: Link) -> Record {
    origins.forget();
    let dead = format!("127.0.0.1:{}", origins.dead.port);
    let mut setup = Setup::new(kind).conf_name("nginx.conf").with("DEAD", dead);
    for (name, origin, _) in &origins.running {
        setup = setup.with(name, format!("127.0.0.1:{}", origin.port));
    }
    for (path, text) in &case.files {
        setup = setup.file(path, text);
    }
    if link == Link::Tls {
        setup =
            setup.file("conf/tls.pem", &IDENTITY.pem()).file("conf/tls.key", &IDENTITY.key_pem());
    }
    let conf = conf(case, setup.kind(), link);
    let server = match setup.try_start(&conf) {
        Ok(server) => server,
        Err(exit) => {
            let text = format!("did not start: {}", exit.said);
            return Record { text, errors: String::new() };
        }
    };
    age(case, server.prefix());
    let mut text = steps(case, server.port(), link);
    for (name, origin, _) in &origins.running {
        for request in origin.take_received() {
            let _ = write!(text, "\n= {name} was sent\n{}\n", visible(&request.text()));
        }
    }
    let names: Vec<(String, String)> =
        server.names().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    text.push_str(&logs(case, &server));
    let log = server.error_log();
    let failures = ["[error]", "[crit]", "[alert]", "[emerg]"];
    let grave = log.lines().filter(|line| failures.iter().any(|it| line.contains(it)));
    let errors = grave.fold(String::new(), |all, line| all + line + "\n");
    let text = names.iter().fold(text, |text, (name, value)| replace(&text, value, name));
    Record { text, errors }
}

/// All files are of the same moment on both sides: Tue, 14 Nov 2023 22:13:20 GMT.
fn age(case: &Case, prefix: &Path) {
    let then = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (path, _) in &case.files {
        let file = File::open(prefix.join(path)).expect("a file of the case");
        file.set_modified(then).expect("a file of our own");
    }
}

/// The whole configuration of a case.
pub fn conf(case: &Case, kind: Kind, link: Link) -> String {
    let identity = if kind == Kind::Moongate { "server_identity nginx;" } else { "" };
    let listen = match link {
        Link::Plain => "listen 127.0.0.1:$PORT;",
        Link::Tls => {
            "listen 127.0.0.1:$PORT ssl; ssl_certificate tls.pem; ssl_certificate_key tls.key;"
        }
    };
    let server = case
        .config
        .as_ref()
        .map_or(String::new(), |it| format!("server {{ {listen} server_name localhost;\n{it}}}\n"));
    format!(
        "worker_processes 1; events {{}} http {{ {identity} access_log off;\n{}{server}}}\n",
        case.http
    )
}

fn steps(case: &Case, port: u16, link: Link) -> String {
    let mut text = String::new();
    let mut client: Option<Connection> = None;
    for (index, step) in case.steps.iter().enumerate() {
        for _ in 0..step.times {
            let _ = writeln!(text, "\n= request {}", index + 1);
            let current = client.take().filter(|_| !step.new_connection);
            match converse(current, || connect(port, link), step, &mut text) {
                Ok(open) => client = open,
                Err(error) => {
                    let _ = writeln!(text, "[{:?}: {error}]", error.kind());
                }
            }
        }
    }
    text
}

fn connect(port: u16, link: Link) -> io::Result<Connection> {
    let stream: Box<dyn Stream> = match link {
        Link::Plain => Box::new(Client::connect(port)?.patience(PATIENCE)?.into_stream()),
        Link::Tls => {
            let stream = tls::stream(&tls::connector().build(), port, "localhost");
            let stream = stream.map_err(|it| io::Error::other(it.to_string()))?;
            stream.get_ref().set_read_timeout(Some(PATIENCE))?;
            stream.get_ref().set_write_timeout(Some(PATIENCE))?;
            Box::new(stream)
        }
    };
    Ok(Client::over(stream))
}

/// Sends a step and reads its answers; gives the connection back when it stays open.
fn converse(
    client: Option<Connection>,
    connect: impl FnOnce() -> io::Result<Connection>,
    step: &Step,
    text: &mut String,
) -> io::Result<Option<Connection>> {
    let mut client = client.map_or_else(connect, Ok)?;
    client.send(&step.bytes)?;
    for method in &step.methods {
        let response = client.response(method)?;
        show(&response, text);
        let endless = response.header("content-length").is_none()
            && !response.head.is_chunked()
            && !matches!(response.status(), 204 | 304)
            && method != "HEAD";
        if response.closes() || endless {
            let _ = writeln!(text, "[{}]", if client.ends() { "closed" } else { "left open" });
            return Ok(None);
        }
    }
    Ok(Some(client))
}

fn show(response: &Response, text: &mut String) {
    for head in response.interim.iter().chain([&response.head]) {
        let _ = writeln!(text, "{}\n", visible(&head.text()));
    }
    let _ = writeln!(text, "{}", visible(&latin1(&response.body)));
}

/// Stops the server where a log is asked for.
fn logs(case: &Case, server: &Server) -> String {
    let mut text = String::new();
    if case.texts().any(|it| it.contains("logs/case.log")) {
        let path = server.prefix().to_owned();
        let lines = case.steps.iter().map(|it| it.times * it.methods.len()).sum();
        let _ = wait_for(|| server.read("logs/case.log").lines().count() >= lines);
        let log = std::fs::read(path.join("logs/case.log")).unwrap_or_default();
        let _ = writeln!(text, "\n= logs/case.log\n{}", visible(&latin1(&log)));
    }
    for line in &case.error_log {
        if !wait_for(|| server.error_log().contains(line)) {
            let log = server.error_log();
            let lines: Vec<&str> = log.lines().filter(|it| !it.contains("[info]")).collect();
            let _ = writeln!(text, "\n= error.log has no {line:?}, but\n{}", lines.join("\n"));
        }
    }
    text
}

fn wait_for(mut done: impl FnMut() -> bool) -> bool {
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while !done() {
        if std::time::Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Control characters but line feeds as escapes.
fn visible(text: &str) -> String {
    let show = |it: char| {
        let hidden = it.is_control() && it != '\n';
        if hidden { format!("\\x{:02x}", u32::from(it)) } else { it.to_string() }
    };
    text.chars().map(show).collect()
}

/// `value` becomes `$name` wherever it stands alone: the sides have different ports and folders.
fn replace(text: &str, value: &str, name: &str) -> String {
    let value = value.strip_prefix("127.0.0.1:").unwrap_or(value);
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(value) {
        let (before, after) = (&rest[..at], &rest[at + value.len()..]);
        let alone = !before.ends_with(|it: char| it.is_ascii_digit())
            && !after.starts_with(|it: char| it.is_ascii_digit());
        result.push_str(before);
        result.push_str(if alone { "$" } else { "" });
        result.push_str(if alone { name } else { value });
        rest = after;
    }
    result + rest
}
