//! Prometheus's text: names, labels, the bucket at two seconds; clients cannot make labels.

use crate::harness::client::get;
use crate::harness::origin::Origin;
use crate::harness::server::{Kind, Setup};

#[test]
fn requests_are_counted_by_what_they_were() {
    let origin = Origin::saying("fine");
    let address = format!("127.0.0.1:{}", origin.port);
    let server = Setup::new(Kind::Moongate).with("ORIGIN", address).start(
        "http { upstream canary { server $ORIGIN; }\n\
         server { listen 127.0.0.1:$PORT; server_name shop;\n\
         location / { proxy_pass http://canary; }\n\
         location /404 { return 404; } location /metrics { metrics; } } }",
    );
    for _ in 0..3 {
        assert_eq!(get(server.port(), "/").status(), 200);
    }
    get(server.port(), "/404");
    for text in [get(server.named_port("ADMIN"), "/metrics"), get(server.port(), "/metrics")] {
        assert_eq!(text.status(), 200);
        let kind = text.header("content-type").unwrap_or_default().to_owned();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let text = text.text();
        let counts: Vec<&str> = text
            .lines()
            .filter(|it| it.starts_with("http_request_duration_seconds_count{"))
            .collect();
        let of = |parts: &[&str]| {
            let line = counts.iter().find(|it| parts.iter().all(|part| it.contains(part)));
            line.and_then(|it| it.rsplit(' ').next()).map(str::to_owned)
        };
        let proxied = ["server=\"shop\"", "location=\"/\"", "upstream=\"canary\"", "=\"2xx\""];
        assert_eq!(of(&proxied).as_deref(), Some("3"), "{counts:#?}");
        assert_eq!(of(&["location=\"/404\"", "=\"4xx\""]).as_deref(), Some("1"), "{counts:#?}");
        assert!(text.contains("le=\"2\"}"), "an edge at exactly two seconds");
        assert!(text.contains("canary_version="));
    }
}

#[test]
fn clients_cannot_make_labels() {
    let server = crate::harness::server::gateway(
        "http { server { listen 127.0.0.1:$PORT; server_name shop *.shop ~^re; return 200 x; } }",
    );
    let lines = || {
        let text = get(server.named_port("ADMIN"), "/metrics").text();
        text.lines().filter(|it| it.starts_with("http_request")).count()
    };
    get(server.port(), "/");
    let before =
        crate::harness::eventually("the first series", || Some(lines()).filter(|it| *it > 0));
    for number in 0..50 {
        let fields = format!("Host: h{number}.shop\r\nX-Canary-Version: v{number}\r\n");
        let answer = crate::harness::client::Client::connect(server.port()).and_then(|mut it| {
            it.send(format!("GET /{number} HTTP/1.1\r\n{fields}\r\n"))?;
            it.response("GET")
        });
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert_eq!(lines(), before, "fifty clients made no series");
}
