//! How a case is written.
//!
//! ```text
//! === its name, unlike any other
//! --- http                       what goes into http { }, before the server
//! --- config                     what goes into server { }; without it there is no such server
//! --- file conf/x.lua            a file below the prefix, of Tue, 14 Nov 2023 22:13:20 GMT
//! --- request [raw] [new] [times=N] [answers=N]
//! GET /x                         " HTTP/1.1", "Host: localhost" are added when missing
//! X-Name: value
//!
//! the body; its Content-Length is added when no framing was written
//! --- origin [chunked] [close] [raw] [delay=MS] [cut]
//! 200 OK                         the answers in order, the last one repeats; `origin2`,
//! X-Name: value                  `origin3` are more. One word instead: close, reset, hang
//!
//! the body; framing as for requests. chunked: each line is a chunk; close: it ends by closing
//! cut: closed before the last byte
//! --- error_log                  lines that both error logs must hold
//! --- refused                    neither side may start
//! ```
//!
//! `$PORT` is the listener, `$PORT2`… are more, `$ORIGIN`, `$ORIGIN2`… the origins (an address),
//! `$DEAD` refuses connections, `$PREFIX` is the folder. In `raw` text line ends do not count and
//! `\r \n \t \\ \xHH` stand for bytes. What is written to logs/case.log is compared too.

use std::collections::BTreeMap;
use std::time::Duration;

/// One configuration and what is asked of it.
#[derive(Debug, Default)]
pub struct Case {
    pub name: String,
    pub file: String,
    pub line: usize,
    pub http: String,
    pub config: Option<String>,
    pub files: Vec<(String, String)>,
    pub steps: Vec<Step>,
    /// By name: `ORIGIN`, `ORIGIN2`…
    pub origins: BTreeMap<String, Vec<Scripted>>,
    pub error_log: Vec<String>,
    pub refused: bool,
}

/// Bytes to send and how many answers to read.
#[derive(Debug)]
pub struct Step {
    pub bytes: Vec<u8>,
    pub methods: Vec<String>,
    pub new_connection: bool,
    pub times: usize,
}

/// One answer of an origin.
#[derive(Clone, Debug)]
pub enum Scripted {
    Close,
    Reset,
    Hang,
    Reply { head: Vec<u8>, body: Vec<u8>, close: bool, delay: Duration },
}

impl Default for Scripted {
    fn default() -> Self {
        reply("200 OK\nContent-Type: text/plain\n\norigin\n", &[])
    }
}

impl Case {
    /// Everything in which a name may be substituted.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().map(|(_, text)| text.as_str());
        files.chain([self.http.as_str()]).chain(self.config.as_deref())
    }
}

impl Case {
    /// Whether nothing but the client talks to the server, so that TLS may be between them.
    pub fn may_be_tls(&self) -> bool {
        let names_port = |text: &str| {
            text.match_indices("$PORT")
                .any(|(at, it)| !text[at + it.len()..].starts_with(|it: char| it.is_numeric()))
        };
        self.config.is_some() && !self.refused && !self.texts().any(names_port)
    }
}

/// Reads the cases of a file.
///
/// # Panics
/// On anything that it does not know.
pub fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut section: Option<(String, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let header = line.strip_prefix("--- ");
        let name = line.strip_prefix("=== ");
        let ends = header.is_some() || name.is_some();
        if let (Some((title, body)), Some(case)) = (section.take_if(|_| ends), cases.last_mut()) {
            case.add(&title, &body);
        }
        if let Some(name) = name {
            let (name, file) = (name.trim().to_owned(), file.to_owned());
            cases.push(Case { name, file, line: index + 1, ..Case::default() });
        } else if let Some(header) = header {
            section = Some((header.trim().to_owned(), String::new()));
        } else if let Some((_, body)) = &mut section {
            body.push_str(line);
            body.push('\n');
        } else {
            let is_comment = line.is_empty() || line.starts_with('#');
            assert!(is_comment, "{file}:{}: outside of a section: {line}", index + 1);
        }
    }
    if let (Some((title, body)), Some(case)) = (section, cases.last_mut()) {
        case.add(&title, &body);
    }
    cases
}

impl Case {
    fn add(&mut self, title: &str, body: &str) {
        let mut words = title.split(' ').filter(|it| !it.is_empty());
        let kind = words.next().unwrap_or_default();
        let options: Vec<&str> = words.collect();
        let trimmed = body.trim_end_matches('\n');
        match kind {
            "http" => self.http.push_str(body),
            "config" => self.config.get_or_insert_default().push_str(body),
            "file" => self.files.push((options.concat(), body.into())),
            "request" => self.steps.push(step(trimmed, &options)),
            "error_log" => self.error_log.extend(trimmed.lines().map(str::to_owned)),
            "refused" => self.refused = true,
            origin if origin.starts_with("origin") => {
                let answers = self.origins.entry(origin.to_uppercase()).or_default();
                answers.push(match trimmed {
                    "close" => Scripted::Close,
                    "reset" => Scripted::Reset,
                    "hang" => Scripted::Hang,
                    text => reply(text, &options),
                });
            }
            _ => panic!("{}: there is no section `{kind}`", self.name),
        }
    }
}

fn step(text: &str, options: &[&str]) -> Step {
    let bytes = if options.contains(&"raw") { raw(text) } else { request(text) };
    let method = String::from_utf8_lossy(&bytes).split(' ').next().unwrap_or_default().to_owned();
    Step {
        bytes,
        methods: vec![method; number(options, "answers").unwrap_or(1)],
        new_connection: options.contains(&"new"),
        times: number(options, "times").unwrap_or(1),
    }
}

fn request(text: &str) -> Vec<u8> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let (line, fields) = head.split_once('\n').unwrap_or((head, ""));
    let version = if line.contains(" HTTP/") { "" } else { " HTTP/1.1" };
    let says = |name: &str| {
        fields.lines().any(|it| it.to_ascii_lowercase().starts_with(&format!("{name}:")))
    };
    let mut head = format!("{line}{version}\r\n");
    if !says("host") {
        head.push_str("Host: localhost\r\n");
    }
    fields.lines().for_each(|it| head.extend([it, "\r\n"]));
    if !body.is_empty() && !says("content-length") && !says("transfer-encoding") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let body = if says("transfer-encoding") { chunked(body) } else { body.as_bytes().to_vec() };
    [head.as_bytes(), b"\r\n", &body].concat()
}

fn reply(text: &str, options: &[&str]) -> Scripted {
    let delay = Duration::from_millis(number(options, "delay").unwrap_or(0) as u64);
    let mut close = options.contains(&"close");
    if options.contains(&"raw") {
        return Scripted::Reply { head: raw(text), body: Vec::new(), close, delay };
    }
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut fields = head.replace('\n', "\r\n");
    let framed = head.to_ascii_lowercase().contains("\ncontent-length:")
        || ["1", "204", "304"].iter().any(|it| head.starts_with(it));
    let mut body = body.as_bytes().to_vec();
    if options.contains(&"chunked") {
        fields.push_str("\r\nTransfer-Encoding: chunked");
        body = chunked(&String::from_utf8_lossy(&body));
    } else if !framed && !close {
        fields.push_str(&format!("\r\nContent-Length: {}", body.len()));
    }
    if options.contains(&"cut") {
        body.pop();
        close = true;
    }
    let head = format!("HTTP/1.1 {fields}\r\n\r\n").into_bytes();
    Scripted::Reply { head, body, close, delay }
}

/// Each line, with its end, as a chunk.
fn chunked(text: &str) -> Vec<u8> {
    let chunks = text.split_inclusive('\n').map(|it| format!("{:x}\r\n{it}\r\n", it.len()));
    (chunks.collect::<String>() + "0\r\n\r\n").into_bytes()
}

fn raw(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut letters = text.bytes().filter(|it| *it != b'\n');
    while let Some(letter) = letters.next() {
        if letter != b'\\' {
            bytes.push(letter);
            continue;
        }
        bytes.push(match letters.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'x') => {
                let digits: Vec<u8> = letters.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).expect("two hexadecimal digits behind \\x")
            }
            other => other.unwrap_or(b'\\'),
        });
    }
    bytes
}

fn number(options: &[&str], name: &str) -> Option<usize> {
    let value = options.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.parse().expect("a number"))
}
