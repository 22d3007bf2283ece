//! How much a client may ask for: limits that all workers share and that outlive reloads.

use crate::harness::client::{Client, get};
use crate::harness::eventually;
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup, gateway};
use std::time::{Duration, Instant};

/// A request that the origin has and does not answer yet.
fn held(server: &Server, origin: &Origin, uri: &str) -> Client {
    let before = origin.received().len();
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send(format!("GET {uri} HTTP/1.1\r\nHost: x\r\n\r\n")).expect("it reads");
    eventually("the origin has it", || (origin.received().len() > before).then_some(()));
    client
}

#[test]
fn requests_are_counted_by_all_workers_together_and_over_reloads() {
    let conf = "worker_processes 4; http { limit_req_zone $uri zone=z:64k rate=1r/m;\n\
                limit_req zone=z burst=$BURST nodelay;\n\
                server { listen 127.0.0.1:$PORT; location / { echo served; }\n\
                location /metrics { metrics; } } }";
    let mut server = Setup::new(Kind::Moongate).start(&conf.replace("$BURST", "9"));
    let statuses = |server: &Server, count: usize| {
        let answers = (0..count).map(|_| get(server.port(), "/x").status());
        answers.filter(|it| *it == 200).count()
    };
    assert_eq!(statuses(&server, 30), 10, "whichever worker takes a connection");
    server.rewrite_conf(&conf.replace("$BURST", "12"));
    server.signal(libc::SIGHUP);
    eventually("the new limit is in force", || (statuses(&server, 1) == 1).then_some(()));
    assert_eq!(statuses(&server, 9), 2);
    let metrics = get(server.port(), "/metrics").text();
    let line = r#"moongate_limited_requests_total{result="rejected",zone="z"}"#;
    assert!(metrics.contains(line), "{metrics}");
    server.rewrite_conf(&conf.replace("$BURST", "9").replace("$uri", "$host"));
    server.signal(libc::SIGHUP);
    server.expect_logged(
        "limit_req \"z\" uses the \"$host\" key while previously it used the \"$uri\" key",
    );
}

#[test]
fn a_request_counts_until_it_is_answered_or_its_client_leaves() {
    let origin = Origin::start(|_| Answer::ok("late").after(Duration::from_millis(400)));
    let server = Setup::new(Kind::Moongate)
        .with("ORIGIN", format!("127.0.0.1:{}", origin.port))
        .start(
            "worker_processes 2; http { limit_conn_zone $server_name zone=c:64k;\n\
             server { listen 127.0.0.1:$PORT; server_name here; limit_conn c 2;\n\
             location / { proxy_pass http://$ORIGIN; }\n\
             location /free { limit_conn_dry_run on; limit_conn c 1; echo $limit_conn_status; } } }",
        );
    let mut first = held(&server, &origin, "/");
    let second = held(&server, &origin, "/");
    let refused = get(server.port(), "/");
    assert_eq!(refused.status(), 503);
    assert_eq!(get(server.port(), "/free").text(), "REJECTED_DRY_RUN\n");
    server.expect_logged("limiting connections by zone \"c\"");
    server.expect_logged("limiting connections, dry run, by zone \"c\"");
    drop(second);
    eventually("the one that left counts no more", || {
        (get(server.port(), "/").status() == 200).then_some(())
    });
    assert_eq!(first.response("GET").expect("an answer").text(), "late");
    // The same connection at once: the first request counts no more.
    for _ in 0..3 {
        assert_eq!(first.get("/").expect("an answer").status(), 200);
    }
}

#[test]
fn a_delayed_request_waits_its_turn_and_not_for_a_client_that_left() {
    let server = gateway(
        "http { limit_req_zone $uri zone=z:64k rate=5r/s; limit_req_zone $uri zone=slow:64k \
         rate=1r/m; error_log logs/error.log info; log_format l \"$uri $status $limit_req_status\";\n\
         server { listen 127.0.0.1:$PORT; access_log logs/access.log l;\n\
         location / { limit_req zone=z burst=5; echo $limit_req_status; }\n\
         location /slow { limit_req zone=slow burst=5; echo x; } } }",
    );
    let mut client = Client::connect(server.port()).expect("it listens");
    let began = Instant::now();
    let said: Vec<_> =
        (0..3).map(|_| client.get("/").expect("an answer").text().trim().to_owned()).collect();
    assert_eq!(said, ["PASSED", "DELAYED", "DELAYED"]);
    assert!(began.elapsed() >= Duration::from_millis(380), "{:?}", began.elapsed());
    assert_eq!(get(server.port(), "/slow").status(), 200);
    let mut waits = Client::connect(server.port()).expect("it listens");
    waits.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    server.expect_logged("delaying request, excess: ");
    drop(waits);
    let is_logged = || server.read("logs/access.log").contains("/slow 499 DELAYED");
    eventually("it is logged", || is_logged().then_some(()));
}

#[test]
fn a_response_leaves_as_fast_as_it_may() {
    let server = gateway(
        "http { server { listen 127.0.0.1:$PORT; location / { limit_rate 20k; limit_rate_after 10k;\n\
         content_by_lua_block { ngx.header.content_length = 61440; ngx.print((\"x\"):rep(61440)) } }\n\
         location /after { limit_rate 1; limit_rate_after 100k; return 200 \"at once\"; } } }",
    );
    let began = Instant::now();
    let mut client = Client::connect(server.port()).expect("it listens");
    assert_eq!(client.get("/").expect("an answer").text().len(), 61440);
    // 10k and the first second's 20k at once, then 20k for the second and the third.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(client.get("/after").expect("an answer").text(), "at once");
}
