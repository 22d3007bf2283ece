//! Rollouts as operators move them: the command line, the admin listener, reloads, journals.

use crate::harness::client::{get, request};
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup, binary};
use crate::harness::{eventually, settles};
use serde_json::Value;
use std::process::Command;

/// A rollout whose variants are two addresses of the gateway itself.
pub fn conf(lines: &str) -> String {
    format!(
        "http {{ access_log off;\n\
         upstream one {{ server 127.0.0.1:$PORT2; }} upstream two {{ server 127.0.0.1:$PORT3; }}\n\
         {}\n\
         server {{ listen 127.0.0.1:$PORT; location / {{ proxy_pass http://$rollout_api; }} }}\n\
         server {{ listen 127.0.0.1:$PORT2; return 200 stable; }}\n\
         server {{ listen 127.0.0.1:$PORT3; return 200 canary; }} }}",
        rollout(lines)
    )
}

fn rollout(lines: &str) -> String {
    format!("rollout api {{ stable one; canary two version=v2; {lines} }}")
}

pub const STEPS: &str = "steps 1% 5m, 5% 5m, pause, 100%;";

/// `moongate rollout WORDS`: exit code and what it printed.
pub fn rollout_command(server: &Server, words: &str) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.arg("rollout").args(words.split_whitespace());
    command
        .arg("-p")
        .arg(server.prefix())
        .arg("-c")
        .arg(server.prefix().join("conf/moongate.conf"));
    let output = command.output().expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The rollout `api` as the admin listener shows it.
pub fn status(server: &Server) -> Value {
    let answer = get(server.named_port("ADMIN"), "/rollouts/api");
    serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("{answer:?}"))
}

fn state_and_weight(server: &Server) -> (String, u64) {
    let status = status(server);
    (status["state"].as_str().expect("a word").to_owned(), status["weight"].as_u64().expect("one"))
}

#[test]
fn an_operator_moves_a_rollout_by_the_command_line() {
    let server = Setup::new(Kind::Moongate).start(&conf(STEPS));
    let (code, said) = rollout_command(&server, "list");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.lines().nth(1).is_some_and(|it| it.starts_with("api   running  1%")), "{said}");
    let (code, said) = rollout_command(&server, "promote api");
    assert_eq!((code, said.as_str()), (Some(0), "rollout api: running, 5% to v2\n"));
    let (_, said) = rollout_command(&server, "promote api");
    assert!(
        said.contains("waiting, 5% to v2\nit waits: \"moongate rollout promote api\""),
        "{said}"
    );
    let (_, said) = rollout_command(&server, "promote api");
    assert_eq!(said, "rollout api: steady, 100% to v2\n");
    assert_eq!(get(server.port(), "/").text(), "canary");
    let (code, said) = rollout_command(&server, "promote api");
    assert_eq!(code, Some(1));
    assert_eq!(said, "moongate: the rollout is steady; there is nothing to promote\n");
    let (code, said) = rollout_command(&server, "abort api");
    assert!(code == Some(0) && said.contains("\"moongate rollout resume api\""), "{said}");
    assert_eq!(get(server.port(), "/").text(), "stable");
    let (_, said) = rollout_command(&server, "status api");
    assert!(said.contains("reason    aborted: an operator's word; "), "{said}");
    let (code, said) = rollout_command(&server, "resume api");
    assert_eq!((code, said.as_str()), (Some(0), "rollout api: running, 1% to v2\n"));
    rollout_command(&server, "set-weight api 100%");
    assert_eq!(get(server.port(), "/").text(), "canary");
    let (code, said) = rollout_command(&server, "pause shop");
    assert_eq!((code, said.as_str()), (Some(1), "moongate: no rollout \"shop\"; there is api\n"));
    server.expect_logged("[warn]");
    server.expect_logged("rollout \"api\": aborted, canary \"v2\" 100% -> 0%: an operator's word");
    let metrics = get(server.named_port("ADMIN"), "/metrics").text();
    for line in [
        "moongate_rollout_state{rollout=\"api\",state=\"paused\"} 1",
        "moongate_rollout_weight{canary_version=\"v2\",rollout=\"api\"} 1",
        "moongate_rollout_events_total{event=\"promoted\",rollout=\"api\"} 3",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line} is not in {metrics}");
    }
}

#[test]
fn a_user_s_way_is_what_the_gateway_does() {
    let sticky = "sticky $http_x_user; steps 10% 5m, 50% 5m, 100%;";
    let server = Setup::new(Kind::Moongate).start(&conf(sticky));
    for user in ["alice", "bob", "carol", "dave", "erin"] {
        let (code, said) = rollout_command(&server, &format!("who api --json --key {user}"));
        assert_eq!(code, Some(0), "{said}");
        let way: Value = serde_json::from_str(&said).expect("JSON");
        for (index, percent) in [(0, 10), (1, 50)] {
            rollout_command(&server, &format!("set-weight api {percent}%"));
            let answer = request(server.port(), "GET", "/", &format!("X-User: {user}\r\n")).text();
            let variant = way["steps"][index]["variant"].as_str().expect("a label");
            assert_eq!(answer == "canary", variant == "v2", "{user} at {percent}%: {said}");
        }
        assert_eq!(way["steps"][2]["variant"], "v2");
    }
    let (_, said) = rollout_command(&server, "who api --key alice");
    assert!(said.starts_with("rollout api, key \"alice\": bucket 6425\n  now: stable\n"), "{said}");
}

#[test]
fn a_test_of_the_configuration_writes_no_journal() {
    let mut setup = Setup::new(Kind::Moongate);
    let output = setup.command(&conf(STEPS)).arg("-t").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!setup.prefix().join("rollouts/api.journal").exists());
    let text = conf("weight 5%; journal no/where/api.journal;");
    let output = setup.command(&text).arg("-t").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("the journal of rollout \"api\": there is no folder"), "{said}");
}

#[test]
fn reloads_change_what_is_wanted_and_keep_what_is() {
    let mut server = Setup::new(Kind::Moongate).start(&conf(STEPS));
    rollout_command(&server, "promote api");
    // Refused: no trace.
    server.rewrite_conf(&conf("steps 2% 5m, 50% 5m, 100%; journal /nowhere/api;"));
    server.signal(libc::SIGHUP);
    server.expect_logged("serves on");
    assert_eq!(state_and_weight(&server), ("running".to_owned(), 500));
    assert_eq!(status(&server)["steps"][0], "1% 5m");
    // Taken: the weight stays, the steps are others.
    server.rewrite_conf(&conf("steps 2% 5m, 50% 5m, 100%; limit p99 > 1s;"));
    server.signal(libc::SIGHUP);
    settles("the new steps", Value::from("2% 5m"), || status(&server)["steps"][0].clone());
    assert_eq!(state_and_weight(&server), ("running".to_owned(), 500));
    rollout_command(&server, "promote api");
    assert_eq!(state_and_weight(&server), ("running".to_owned(), 5000));
    rollout_command(&server, "abort api");
    server.rewrite_conf(&conf("weight 30%;"));
    server.signal(libc::SIGHUP);
    settles("no steps", Value::from(Vec::<Value>::new()), || status(&server)["steps"].clone());
    assert_eq!(state_and_weight(&server), ("aborted".to_owned(), 0), "a latch holds");
    // Gone, and back.
    let without = conf("").replace(&rollout(""), "").replace("$rollout_api", "one");
    server.rewrite_conf(&without);
    server.signal(libc::SIGHUP);
    server.expect_logged("rollout \"api\" has left the configuration");
    let (code, said) = rollout_command(&server, "status api");
    assert!(code == Some(1) && said.contains("the configuration has none"), "{said}");
    let metrics = get(server.named_port("ADMIN"), "/metrics").text();
    assert!(!metrics.contains("moongate_rollout_state{"), "{metrics}");
    server.rewrite_conf(&conf("weight 30%;"));
    server.signal(libc::SIGHUP);
    settles("it is back", 200, || get(server.named_port("ADMIN"), "/rollouts/api").status());
    assert_eq!(state_and_weight(&server), ("aborted".to_owned(), 0), "nothing is forgotten");
}

#[test]
fn two_gateways_do_not_share_a_journal() {
    let server = Setup::new(Kind::Moongate).start(&conf(STEPS));
    let journal = server.prefix().join("rollouts/api.journal");
    let lines = format!("{STEPS} journal {};", journal.display());
    let exit = Setup::new(Kind::Moongate).run_to_end(&conf(&lines));
    assert_eq!(exit.status.code(), Some(1));
    assert!(exit.said.contains("another process writes the journal"), "{}", exit.said);
    rollout_command(&server, "promote api");
    // One that drains lets its journals go.
    server.signal(libc::SIGQUIT);
    let next = Setup::new(Kind::Moongate).start(&conf(&lines));
    settles("it is there", 200, || get(next.port(), "/").status());
    assert_eq!(state_and_weight(&next), ("running".to_owned(), 500));
}

/// Kills the gateway and starts another one on the same journal.
fn killed_and_started(server: Server, journal: &str, lines: &str) -> Server {
    ended_and_started(libc::SIGKILL, server, journal, lines)
}

/// Ends the gateway by `signal` and starts another one on the same journal.
fn ended_and_started(signal: i32, mut server: Server, journal: &str, lines: &str) -> Server {
    server.signal(signal);
    server.wait();
    drop(server);
    let lines = format!("{lines} journal {journal};");
    let next = Setup::new(Kind::Moongate).start(&conf(&lines));
    eventually("it answers", || (get(next.port(), "/").status() == 200).then_some(()));
    next
}

#[test]
fn killed_at_any_moment_it_goes_on_and_never_forgets_a_rollback() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("api.journal").display().to_string();
    let lines = "steps 1% 5m, 5% 5m, 25% 5m, 100%;";
    let first = format!("{lines} journal {journal};");
    let mut server = Setup::new(Kind::Moongate).start(&conf(&first));
    for round in 0..8u64 {
        // A command whose answer nobody waits for, and a kill somewhere around it.
        let before = state_and_weight(&server);
        let verb = if round % 3 == 2 { "abort" } else { "promote" };
        let port = server.named_port("ADMIN");
        let asking = std::thread::spawn(move || {
            let stream = std::net::TcpStream::connect(("127.0.0.1", port));
            let text = format!("POST /rollouts/api/{verb} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let mut answer = Vec::new();
            if let Ok(mut stream) = stream
                && std::io::Write::write_all(&mut stream, text.as_bytes()).is_ok()
            {
                let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
            }
            String::from_utf8_lossy(&answer).into_owned()
        });
        std::thread::sleep(std::time::Duration::from_micros(round * 700));
        server = killed_and_started(server, &journal, lines);
        let answer = asking.join().expect("it ends");
        let after = state_and_weight(&server);
        if answer.starts_with("HTTP/1.1 200") {
            let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
            let said: Value = serde_json::from_str(body).expect("JSON");
            let said =
                (said["state"].as_str().unwrap().to_owned(), said["weight"].as_u64().unwrap());
            assert_eq!(after, said, "round {round}: what was answered is durable");
        } else if after != before {
            let moved = if verb == "abort" { after.0 == "aborted" } else { after.1 > before.1 };
            assert!(moved, "round {round}: {before:?} became {after:?}");
        }
        if after.0 == "aborted" {
            assert_eq!(get(server.port(), "/").text(), "stable");
            rollout_command(&server, "resume api");
        }
    }
    rollout_command(&server, "abort api");
    let server = killed_and_started(server, &journal, lines);
    assert_eq!(state_and_weight(&server), ("aborted".to_owned(), 0));
    let (_, said) = rollout_command(&server, "status api");
    assert!(said.contains("aborted: an operator's word"), "{said}");
}

#[test]
fn a_journal_that_cannot_be_read_is_stable_s_and_is_put_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("api.journal");
    std::fs::write(&journal, "S 00000000 {}\n").expect("a file");
    let lines = format!("weight 100%; journal {};", journal.display());
    let server = Setup::new(Kind::Moongate).start(&conf(&lines));
    assert_eq!(get(server.port(), "/").text(), "stable");
    assert_eq!(state_and_weight(&server), ("unreadable".to_owned(), 0));
    server.expect_logged("has a journal that cannot be read and is put aside");
    assert!(folder.path().join("api.journal.unreadable").exists());
    rollout_command(&server, "resume api");
    assert_eq!(get(server.port(), "/").text(), "canary");
}

#[test]
fn webhooks_are_told_of_transitions_even_where_one_is_down() {
    let failed_once = std::sync::atomic::AtomicBool::new(false);
    let hook =
        Origin::start(move |_| match failed_once.swap(true, std::sync::atomic::Ordering::SeqCst) {
            true => Answer::ok("thanks"),
            false => Answer::new("503 Service Unavailable", "", "later"),
        });
    let lines = format!(
        "{STEPS} webhook http://127.0.0.1:{}/hook?x=1; webhook http://127.0.0.1:1/;",
        hook.port
    );
    let server = Setup::new(Kind::Moongate).start(&conf(&lines));
    rollout_command(&server, "promote api");
    rollout_command(&server, "abort api");
    let posts = eventually("all are told", || {
        let posts = hook.received();
        (posts.len() >= 3).then_some(posts)
    });
    let events: Vec<(String, u64)> = posts
        .iter()
        .map(|post| {
            assert_eq!(
                (post.head.start.as_str(), post.header("content-type")),
                ("POST /hook?x=1 HTTP/1.0", Some("application/json"))
            );
            let body: Value = serde_json::from_slice(&post.body).expect("JSON");
            (body["event"].as_str().expect("a word").to_owned(), body["to"].as_u64().expect("one"))
        })
        .collect();
    let promoted = ("promoted".to_owned(), 500);
    assert_eq!(events, [promoted.clone(), promoted, ("aborted".to_owned(), 0)]);
    server.expect_logged("the webhook http://127.0.0.1:1/ is tried again: connect() failed (111:");
    let delivered = "moongate_rollout_webhooks_total{result=\"delivered\",rollout=\"api\"} 2\n";
    eventually("it is counted", || {
        get(server.named_port("ADMIN"), "/metrics").text().contains(delivered).then_some(())
    });
}

#[test]
fn webhooks_that_were_not_taken_outlive_a_kill() {
    not_taken_and_told_by_the_next(libc::SIGKILL);
}

#[test]
fn webhooks_that_were_not_taken_outlive_a_fast_end() {
    not_taken_and_told_by_the_next(libc::SIGTERM);
}

fn not_taken_and_told_by_the_next(signal: i32) {
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_up = std::sync::Arc::clone(&taken);
    let hook = Origin::start(move |_| match is_up.load(std::sync::atomic::Ordering::SeqCst) {
        true => Answer::ok("thanks"),
        false => Answer::new("503 Service Unavailable", "", "down"),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("api.journal").display().to_string();
    let lines = format!("{STEPS} webhook http://127.0.0.1:{}/hook;", hook.port);
    let server = Setup::new(Kind::Moongate).start(&conf(&format!("{lines} journal {journal};")));
    rollout_command(&server, "promote api");
    rollout_command(&server, "abort api");
    let outbox = folder.path().join("api.journal.outbox");
    eventually("both are kept", || {
        let text = std::fs::read_to_string(&outbox).unwrap_or_default();
        (text.matches("\"letter\"").count() == 2).then_some(())
    });
    let refused = hook.received().len();
    // What a crash leaves behind the last line is skipped.
    let mut torn = std::fs::read(&outbox).expect("it is there");
    torn.extend_from_slice(b"O 0000");
    std::fs::write(&outbox, torn).expect("a file");
    taken.store(true, std::sync::atomic::Ordering::SeqCst);
    let server = ended_and_started(signal, server, &journal, &lines);
    let posts = eventually("both are told", || {
        let posts = hook.received().split_off(refused);
        let events: Vec<String> = posts
            .iter()
            .map(|it| {
                let body: Value = serde_json::from_slice(&it.body).expect("JSON");
                body["event"].as_str().expect("a word").to_owned()
            })
            .collect();
        events.contains(&"aborted".to_owned()).then_some(events)
    });
    assert!(posts.contains(&"promoted".to_owned()), "{posts:?}");
    eventually("nothing waits any more", || {
        let text = std::fs::read_to_string(&outbox).unwrap_or_default();
        (!text.contains("\"letter\"")).then_some(())
    });
    drop(server);
}
