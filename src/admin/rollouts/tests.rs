//! What operators may say, from where, and what they are told.

use super::*;
use crate::clock::Tick;
use crate::config;
use crate::config::diagnostic::Diagnostics;
use crate::rollout::fleet::Fleet;
use crate::rollout::live::Now;
use std::sync::Arc;

fn now() -> Now {
    Now { tick: Tick::from_us(0), unix_ms: 0 }
}

/// A registry with the rollout `api`, whose fleet answers on a thread until it is dropped.
fn live(dir: &std::path::Path) -> Arc<Registry> {
    let text = "events {} http { upstream a { server 127.0.0.1; } upstream b { server 127.0.0.1; }
        rollout api { stable a; canary b version=v2; steps 1% 5m, 5% 5m, 100%; } }";
    let model = config::load_text("conf", text, None).unwrap().model;
    let registry = Arc::new(Registry::default());
    let mut diagnostics = Diagnostics::default();
    let built = registry.build(&model.http.unwrap().rollouts, dir, &mut diagnostics);
    let mut fleet = Fleet::new(Arc::clone(&registry), Box::new(|_| {}));
    let opened = fleet.known().open(&built).unwrap();
    fleet.commit(&built, opened, now());
    let inbox = registry.inbox().unwrap();
    std::thread::spawn(move || {
        while let Ok(order) = inbox.recv() {
            fleet.turn(vec![order], now());
        }
    });
    registry
}

fn asked(registry: &Registry, method: &str, target: &str, change: fn(&mut Head)) -> Response {
    let text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut head = Head::parse(text.as_bytes()).unwrap().unwrap();
    change(&mut head);
    let from = match head.host.take().as_deref() {
        Some("elsewhere") => "10.0.0.1:5".parse().unwrap(),
        _ => "127.0.0.1:5".parse().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rest = within(&head.path).unwrap();
    runtime.block_on(answer(registry, &head, rest, from))
}

fn error(response: &Response) -> String {
    let body: serde_json::Value = serde_json::from_str(&response.body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}

#[test]
fn commands_are_followed_or_refused_with_their_reason() {
    let dir = tempfile::tempdir().unwrap();
    let registry = live(dir.path());
    let post = |target: &str| asked(&registry, "POST", target, |_| {});
    let value = |response: &Response| -> serde_json::Value {
        assert_eq!(response.status, "200 OK", "{}", response.body);
        serde_json::from_str(&response.body).unwrap()
    };
    let all = value(&asked(&registry, "GET", "/rollouts", |_| {}));
    assert_eq!((&all[0]["name"], &all[0]["weight"]), (&"api".into(), &100.into()));
    assert_eq!(value(&post("/rollouts/api/promote"))["weight"], 500);
    let status = value(&post("/rollouts/api/set-weight?weight=12.5%25&canary=v2"));
    assert_eq!((&status["weight"], &status["state"]), (&1250.into(), &"paused".into()));
    assert_eq!(value(&post("/rollouts/api/set-weight?weight=25bp"))["weight"], 25);
    assert_eq!(value(&post("/rollouts/api/abort"))["state"], "aborted");
    let again = post("/rollouts/api/promote");
    assert_eq!(again.status, "409 Conflict");
    assert_eq!(error(&again), "the rollout is aborted; resume it first");
    let one = value(&asked(&registry, "GET", "/rollouts/api", |_| {}));
    assert_eq!((&one["canaries"][0]["closed"], &one["weight"]), (&true.into(), &0.into()));
}

#[test]
fn what_makes_no_sense_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let registry = live(dir.path());
    let ask = |method: &str, target: &str| asked(&registry, method, target, |_| {});
    for (method, target, status, why) in [
        ("GET", "/rollouts/shop", "404 Not Found", "no rollout \"shop\"; there is api"),
        ("POST", "/rollouts/shop/abort", "404 Not Found", "no rollout \"shop\"; there is api"),
        ("POST", "/rollouts/api/stop", "400 Bad Request", "no command \"stop\""),
        ("POST", "/rollouts/api/set-weight", "400 Bad Request", "invalid weight \"\""),
        ("POST", "/rollouts/api/set-weight?weight=101%25", "400 Bad Request", "\"101%\""),
        ("POST", "/rollouts/api/set-weight?weight=1%25&canary=v9", "409 Conflict", "\"v9\""),
    ] {
        let response = ask(method, target);
        assert_eq!(response.status, status, "{target}");
        assert!(error(&response).contains(why), "{}", response.body);
    }
    assert_eq!(ask("GET", "/rollouts/api/abort").status, "405 Method Not Allowed");
    assert_eq!(ask("POST", "/rollouts").status, "405 Method Not Allowed");
    assert_eq!(ask("DELETE", "/rollouts/api").status, "405 Method Not Allowed");
    assert_eq!(within("/rolloutsapi"), None);
}

#[test]
fn browsers_and_other_machines_command_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let registry = live(dir.path());
    let changes: [fn(&mut Head); 2] =
        [|head| head.has_origin = true, |head| head.host = Some("elsewhere".to_owned())];
    for change in changes {
        let response = asked(&registry, "POST", "/rollouts/api/abort", change);
        assert_eq!(response.status, "403 Forbidden");
        assert_eq!(asked(&registry, "GET", "/rollouts/api", change).status, "200 OK");
    }
    assert_eq!(registry.find("api").unwrap().status().weight, 100);
}
