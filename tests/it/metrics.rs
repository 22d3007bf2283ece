//! Prometheus's text: names, labels, the bucket at two seconds; clients cannot make labels.

use crate::harness::client::get;
use crate::harness::origin::Origin;
use crate::harness::server::{Kind, Setup};
use crate::harness::settles;

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
    for (port, uri) in [(server.named_port("ADMIN"), "/metrics"), (server.port(), "/metrics")] {
        let answer = get(port, uri);
        assert_eq!(answer.status(), 200);
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        assert!(answer.text().contains("le=\"2\"}"), "an edge at exactly two seconds");
        let proxied = ["server=\"shop\"", "location=\"/\"", "upstream=\"canary\"", "=\"2xx\""];
        settles("proxied requests", Some(3), || count(port, uri, &proxied));
        let local = ["location=\"/404\"", "upstream=\"\"", "canary_version=", "=\"4xx\""];
        settles("requests served here", Some(1), || count(port, uri, &local));
    }
}

/// The requests of the series that has all these labels.
fn count(port: u16, uri: &str, labels: &[&str]) -> Option<u64> {
    let text = get(port, uri).text();
    let mut counts =
        text.lines().filter(|it| it.starts_with("http_request_duration_seconds_count{"));
    let line = counts.find(|it| labels.iter().all(|label| it.contains(label)))?;
    line.rsplit(' ').next()?.parse().ok()
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
