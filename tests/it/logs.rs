//! Access and error logs: their formats, and that reopening loses no line.

use crate::harness::client::{Client, get, request};
use crate::harness::load::Load;
use crate::harness::origin::Origin;
use crate::harness::server::{Kind, Setup, gateway};
use crate::harness::settles;
use std::fs;

#[test]
fn combined_is_the_default_format() {
    let server = gateway(
        "http { access_log logs/access.log; server { listen 127.0.0.1:$PORT; return 200 \"text\\n\"; } }",
    );
    request(server.port(), "GET", "/a?b=c", "User-Agent: \"ua\"\r\nReferer: http://r/\r\n");
    settles("a line", 1, || server.read("logs/access.log").lines().count());
    let line = server.read("logs/access.log");
    let (before, after) = line.split_once('[').expect("a time in brackets");
    assert_eq!(before, "127.0.0.1 - - ");
    let (time, rest) = after.split_once(']').expect("a time in brackets");
    assert_eq!(time.len(), "10/Oct/2000:13:55:36 -0700".len());
    assert_eq!(rest, " \"GET /a?b=c HTTP/1.1\" 200 5 \"http://r/\" \"\\x22ua\\x22\"\n");
}

#[test]
fn moongate_json_tells_the_decision() {
    let origin = Origin::saying("fine");
    let server =
        Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(
            "http { access_log logs/access.log moongate_json; upstream canary { server $ORIGIN; }\n\
         server { listen 127.0.0.1:$PORT; location / { set $backend none;\n\
         access_by_lua_block { ngx.var.backend = \"canary\" } proxy_pass http://$backend; } } }",
        );
    assert_eq!(get(server.port(), "/a?b=c").status(), 200);
    settles("a line", 1, || server.read("logs/access.log").lines().count());
    let line = server.read("logs/access.log");
    let fields: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
    assert_eq!(fields["status"], 200, "{line}");
    assert_eq!(fields["upstream"], "canary", "{line}");
    for name in ["canary_version", "canary_reason", "request_id"] {
        assert!(fields.get(name).is_some(), "{name} is not in {line}");
    }
}

#[test]
fn reopening_loses_no_line() {
    let server = gateway(
        "worker_processes 2; http { log_format short $request_id; access_log logs/access.log short;\n\
         server { listen 127.0.0.1:$PORT; return 200 x; } }",
    );
    let load = Load::start(server.port(), "/", 3, 1);
    let folder = server.prefix().join("logs");
    let rotations = 10;
    for number in 0..rotations {
        load.wait_for(100);
        fs::rename(folder.join("access.log"), folder.join(format!("old.{number}"))).expect("a log");
        server.signal(libc::SIGUSR1);
        settles("the log is there again", true, || folder.join("access.log").exists());
    }
    load.wait_for(100);
    let (answered, failures) = load.stop();
    assert!(failures.is_empty(), "{failures:?}");
    let lines = || {
        let old = (0..rotations).map(|it| server.read(&format!("logs/old.{it}")));
        let all = old.collect::<String>() + &server.read("logs/access.log");
        let mut ids: Vec<String> = all.lines().map(str::to_owned).collect();
        ids.sort();
        ids.dedup();
        assert!(ids.iter().all(|it| it.len() == 32), "a line is torn");
        ids.len()
    };
    // The clients counted what they read to the end; a last answer of each may be logged uncounted.
    settles("every answer is in some log", true, || lines() >= answered);
    assert!(lines() <= answered + 4, "{} lines for {answered} answers", lines());
}

#[test]
fn all_lines_are_there_after_a_quiet_stop() {
    let server = gateway(
        "http { log_format short $uri; access_log logs/access.log short buffer=1m flush=1h;\n\
         server { listen 127.0.0.1:$PORT; return 200 x; } }",
    );
    let mut client = Client::connect(server.port()).expect("it listens");
    for number in 0..500 {
        client.get(&format!("/{number}")).expect("an answer");
    }
    drop(client);
    let log = server.prefix().join("logs/access.log");
    let kept = server
        .prefix()
        .join("../")
        .canonicalize()
        .expect("a folder")
        .join(format!("moongate-kept-{}.log", std::process::id()));
    fs::hard_link(&log, &kept).expect("the log stays when the prefix goes");
    server.quit();
    let text = fs::read_to_string(&kept);
    let _ = fs::remove_file(&kept);
    let expected: String = (0..500).map(|it| format!("/{it}\n")).collect();
    assert_eq!(text.expect("the log is there"), expected);
}

#[test]
fn a_condition_and_off_keep_lines_out() {
    let server = gateway(
        "http { log_format short $uri; map $status $loggable { ~^2 0; default 1; }\n\
         server { listen 127.0.0.1:$PORT; access_log logs/access.log short if=$loggable;\n\
         location / { return 200 x; } location /404 { return 404; }\n\
         location /off { access_log off; return 404; } } }",
    );
    for uri in ["/", "/off", "/404"] {
        get(server.port(), uri);
    }
    settles("one line", "/404\n".to_owned(), || server.read("logs/access.log"));
}

#[test]
fn error_lines_are_nginxs() {
    let server = gateway(
        "http { server { listen 127.0.0.1:$PORT; server_name named;\n\
         location / { content_by_lua_block { ngx.log(ngx.ERR, \"a message\") } } } }",
    );
    get(server.port(), "/x?y");
    server.expect_logged("a message");
    let log = server.error_log();
    let line = log.lines().find(|it| it.contains("a message")).expect("it is there");
    let (time, rest) = line.split_at("2026/01/31 00:00:00".len());
    assert!(time.bytes().filter(u8::is_ascii_digit).count() == 14, "{line}");
    assert!(rest.starts_with(" [error] "), "{line}");
    let tail = "[lua] content_by_lua(moongate.conf:2):1: a message, client: 127.0.0.1, server: named, \
                request: \"GET /x?y HTTP/1.1\", host: \"localhost\"";
    assert!(line.ends_with(tail), "{line}");
}
