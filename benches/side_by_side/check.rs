//! Before anything is measured: all servers give the same answers and send the origin the same.

use crate::contestant::Contestant;
use crate::measure::{Tool, folder};
use crate::rows::{Row, Stage};
use std::process::Command;

/// An answer, as curl shows it.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: String,
    backend: Option<String>,
    body: Vec<u8>,
}

/// Panics where the servers of a stage differ on a row, or in what reaches the origin.
pub fn same_answers(contestants: &[Contestant], stage: Stage, rows: &[&Row]) {
    if stage == Stage::Mix {
        return same_mix(contestants);
    }
    let fields = ["X-Canary-Version: v2", "User-Agent: bench", "Authorization: Bearer abc"];
    let scheme = if stage == Stage::Tls { "https" } else { "http" };
    for fields in [&fields[..], &fields[1..]] {
        same(contestants, |it| {
            let url = format!("{scheme}://127.0.0.1:{}/echo?id=1", it.port("PORT"));
            curl(&url, Tool::Wrk(None), fields)
        });
    }
    for row in rows {
        same_row(contestants, row, "canary");
    }
}

/// Panics where those who take part differ on a row, or do not answer by `backend`.
pub fn same_row(contestants: &[Contestant], row: &Row, backend: &str) {
    let (port, scheme) = row.place();
    let contestants: Vec<&Contestant> =
        contestants.iter().filter(|it| takes_part(row, it.name)).collect();
    let answers = same(contestants, |it| {
        let url = format!("{scheme}://127.0.0.1:{}{}", it.port(port), row.path);
        curl(&url, row.tool, &["X-Canary-Version: v2"])
    });
    let Some(answer) = answers else { return };
    assert_eq!(answer.status, "200", "{}", row.name);
    assert_eq!(answer.backend.as_deref(), Some(backend), "{}", row.name);
    assert!(!answer.body.is_empty(), "{}", row.name);
}

/// Whether the server of this name is measured on this row.
pub fn takes_part(row: &Row, name: &str) -> bool {
    !row.lua_only || [crate::contestant::REFERENCE, crate::contestant::MOONGATE].contains(&name)
}

fn same_mix(contestants: &[Contestant]) {
    for (path, field) in [
        ("/cookie/1", "Cookie: canary=always"),
        ("/cookie/../cookie//1/%41", "Cookie: canary=never"),
        ("/sticky/page?user=user-1&x=%20y", "Accept: */*"),
        ("/re/stable/1", "X-Canary-Version: v2"),
        ("/canary/chunked-16k", "Accept: */*"),
        ("/filter/1", "Accept: */*"),
        ("/text/some/words/1?a=b", "Accept: */*"),
        ("/old", "Accept: */*"),
        ("/moved/1", "Accept: */*"),
    ] {
        same(contestants, |it| {
            let url = format!("http://127.0.0.1:{}{path}", it.port("PORT"));
            let mut answer = curl(&url, Tool::Wrk(None), &["Host: www.example.org", field]);
            if answer.status.starts_with('3') {
                answer.body.clear(); // a page that names the server
            }
            answer
        });
    }
}

/// The answer of all of them; nothing when there is none of them.
fn same<'a>(
    contestants: impl IntoIterator<Item = &'a Contestant>,
    ask: impl Fn(&Contestant) -> Answer,
) -> Option<Answer> {
    let mut first: Option<(&str, Answer)> = None;
    for contestant in contestants {
        let answer = ask(contestant);
        let Some((name, known)) = &first else {
            first = Some((contestant.name, answer));
            continue;
        };
        let (left, right) = (shown(known), shown(&answer));
        assert!(*known == answer, "{name}: {left}\n{}: {right}", contestant.name);
    }
    first.map(|(_, answer)| answer)
}

fn shown(answer: &Answer) -> String {
    let length = answer.body.len();
    let text = String::from_utf8_lossy(&answer.body[..length.min(600)]);
    format!("{} {:?} {length} bytes: {text}", answer.status, answer.backend)
}

fn curl(url: &str, tool: Tool, fields: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command.args(["-sSki", "--max-time", "30", "--path-as-is", "-H", "Expect:"]);
    command.arg(if matches!(tool, Tool::H2load(_)) { "--http2" } else { "--http1.1" });
    for field in fields {
        command.args(["-H", field]);
    }
    let bytes = match tool {
        Tool::Wrk(Some("post.lua")) => 1024,
        Tool::Wrk(Some("upload.lua")) => 10 << 20,
        _ => 0,
    };
    let body = tempfile::NamedTempFile::new_in(std::env::temp_dir()).expect("a temporary file");
    if bytes > 0 {
        std::fs::write(body.path(), vec![b'x'; bytes]).expect("it is writable");
        command.arg("--data-binary").arg(format!("@{}", body.path().display()));
    }
    let output = command.arg(url).current_dir(folder()).output().expect("curl is installed");
    let text = &output.stdout;
    let end = text.windows(4).position(|it| it == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| {
        panic!("curl {url}: {} {}", output.status, String::from_utf8_lossy(&output.stderr))
    });
    let head = String::from_utf8_lossy(&text[..end]).into_owned();
    let backend = head.lines().find_map(|it| {
        let (name, value) = it.split_once(": ")?;
        name.eq_ignore_ascii_case("x-backend").then(|| value.to_owned())
    });
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    Answer { status, backend, body: text[end + 4..].to_vec() }
}
