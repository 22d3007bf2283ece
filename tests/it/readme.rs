//! README's canary: the configuration runs as it is printed, and curl is answered as it says.

use crate::harness::client::{get, request};
use crate::harness::server::{Kind, Setup};
use crate::rollout_control::status;

const README: &str = include_str!("../../README.md");

/// The text of the first block of this language.
fn block(language: &str) -> &'static str {
    let marker = format!("```{language}\n");
    let start = README.find(&marker).expect("README has such a block") + marker.len();
    let length = README[start..].find("```").expect("the block has an end");
    &README[start..start + length]
}

#[test]
fn the_canary_is_answered_as_printed() {
    let conf = block("nginx")
        .replace("127.0.0.1:8000", "127.0.0.1:$PORT")
        .replace("127.0.0.1:8001", "127.0.0.1:$PORT2")
        .replace("127.0.0.1:8002", "127.0.0.1:$PORT3");
    let server = Setup::new(Kind::Moongate).start(&conf);
    let mut asked = 0;
    let mut lines = block("console").lines().peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ curl ") else { continue };
        let expected = lines.peek().expect("an answer follows");
        let answer = match command.split('\'').nth(1) {
            Some(field) => request(server.port(), "GET", "/", &format!("{field}\r\n")),
            None => get(server.port(), "/"),
        };
        assert_eq!(answer.text().trim_end(), *expected, "{command}");
        asked += 1;
    }
    assert_eq!(asked, 4);
}

#[test]
fn the_rollout_runs_as_it_is_printed() {
    let marker = "```nginx\nrollout api {";
    let start = README.find(marker).expect("README has a rollout") + "```nginx\n".len();
    let length = README[start..].find("```").expect("the block has an end");
    let (rollout, location) =
        README[start..start + length].split_once("location").expect("a location");
    let server = Setup::new(Kind::Moongate).start(&format!(
        "http {{ upstream backend_v1 {{ server 127.0.0.1:$PORT2; }}\n\
         upstream backend_v2 {{ server 127.0.0.1:$PORT3; }}\n{rollout}\n\
         server {{ listen 127.0.0.1:$PORT; location{location} }}\n\
         server {{ listen 127.0.0.1:$PORT2; return 200 stable; }}\n\
         server {{ listen 127.0.0.1:$PORT3; return 200 canary; }} }}"
    ));
    for (fields, body) in [
        ("", "stable"),
        ("X-Canary-Version: v2\r\n", "canary"),
        ("User-Agent: iPhone\r\n", "canary"),
        ("User-Agent: iPhone\r\nX-Canary-Version: never\r\n", "stable"),
    ] {
        assert_eq!(request(server.port(), "GET", "/", fields).text(), body, "{fields}");
    }
    assert_eq!(
        (&status(&server)["state"], &status(&server)["weight"]),
        (&"running".into(), &100.into())
    );
}
