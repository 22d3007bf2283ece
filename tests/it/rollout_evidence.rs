//! What counts for and against a variant, and whose word chooses one: over HTTP/1, HTTP/2 and gRPC.

use crate::harness::client::{Client, get, request};
use crate::harness::frames::{self, HEADERS, STATUS_200, field, frame};
use crate::harness::h2_origin::H2Origin;
use crate::harness::origin::{Answer, Origin};
use crate::harness::raw_origin::RawOrigin;
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::settles;
use crate::http2;
use http::Method;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// (good, bad) requests of the rollout `api` that came to `version` by weight, as the limit of
/// failures sees them.
fn counted(server: &Server, version: &str) -> (u64, u64) {
    let metrics = get(server.named_port("ADMIN"), "/metrics").text();
    let count = |result: &str| {
        let series = format!(
            "moongate_rollout_evidence_total{{by=\"weight\",canary_version=\"{version}\",\
             limit=\"5xx_rate\",result=\"{result}\",rollout=\"api\"}} "
        );
        let value = metrics.lines().find_map(|it| it.strip_prefix(&series));
        value.expect("the series").parse().expect("a count")
    };
    (count("good"), count("bad"))
}

/// All traffic is the canary's, whatever it does.
const ALL_CANARY: &str = "weight 100%; sticky $arg_user; on_breach hold; limit p99 off;";

#[test]
fn what_counts_against_a_canary_and_what_does_not() {
    let broken = || Answer::new("500 Internal Server Error", "", "broken");
    let canary = Origin::start(move |received| match received.target() {
        it if it.starts_with("/500") => broken(),
        it if it.starts_with("/404") => Answer::new("404 Not Found", "", "none"),
        it if it.starts_with("/close") => Answer::Close,
        it if it.starts_with("/reset") => Answer::Reset,
        it if it.starts_with("/hang") || it.starts_with("/wait") => Answer::Hang,
        _ => Answer::ok("canary"),
    });
    let server = Setup::new(Kind::Moongate)
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&format!(
            "http {{ log_format s $status; access_log logs/access.log s;\n\
                 upstream one {{ server 127.0.0.1:9; }}\n\
                 upstream two {{ server $CANARY max_fails=0; }}\n\
                 rollout api {{ stable one; canary two version=v2; {ALL_CANARY} }}\n\
                 server {{ listen 127.0.0.1:$PORT; proxy_next_upstream off;\n\
                 location / {{ proxy_pass http://$rollout_api; }}\n\
                 location /hang {{ proxy_read_timeout 100ms; proxy_pass http://$rollout_api; }}\n\
                 location /ours {{ access_by_lua_block {{\n\
                 local to = ngx.var.rollout_api error('ours') }}\n\
                 proxy_pass http://$rollout_api; }} }} }}"
        ));
    let mut expected = (0, 0);
    for (user, (uri, status, bad)) in [
        ("/", 200, Some(false)),
        ("/404", 404, Some(false)),
        ("/500", 500, Some(true)),
        ("/close", 502, Some(true)),
        ("/reset", 502, Some(true)),
        ("/hang", 504, Some(true)),
        ("/ours", 500, None),
        ("/", 200, Some(false)),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(get(server.port(), &format!("{uri}?user={user}")).status(), status, "{uri}");
        match bad {
            Some(true) => expected.1 += 1,
            Some(false) => expected.0 += 1,
            None => {}
        }
        settles(uri, expected, || counted(&server, "v2"));
    }
    // A client that leaves is nobody's failure.
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send("GET /wait?user=gone HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    settles("the canary is asked", true, || {
        canary.received().iter().any(|it| it.target().starts_with("/wait"))
    });
    drop(client);
    settles("it is logged", true, || server.read("logs/access.log").contains("499\n"));
    get(server.port(), "/?user=last");
    expected.0 += 1;
    settles("behind it", expected, || counted(&server, "v2"));
}

#[test]
fn each_grpc_status_of_the_trailers_counts_as_it_should() {
    let ending = Arc::new(AtomicU32::new(0));
    let says = Arc::clone(&ending);
    let canary = RawOrigin::start(move |_, stream| {
        if !frames::begin(stream) {
            return;
        }
        while let Some(id) = frames::next_request(stream) {
            let status = says.load(Ordering::SeqCst).to_string();
            let fields = [STATUS_200, &field("content-type", "application/grpc")].concat();
            let head = frame(HEADERS, 4, id, &fields);
            let trailers = frame(HEADERS, 5, id, &field("grpc-status", &status));
            if stream.write_all(&[head, trailers].concat()).is_err() {
                return;
            }
        }
    });
    let server = Setup::new(Kind::Moongate)
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&format!(
            "http {{ upstream one {{ server 127.0.0.1:9; }} upstream two {{ server $CANARY; }}\n\
                 rollout api {{ stable one; canary two version=v2; {ALL_CANARY} }}\n\
                 server {{ listen 127.0.0.1:$PORT;\n\
                 location / {{ grpc_pass grpc://$rollout_api; }} }} }}"
        ));
    let mut expected = (0, 0);
    for status in 0..17 {
        ending.store(status, Ordering::SeqCst);
        let uri = format!("/?user={status}");
        request(server.port(), "POST", &uri, "Content-Length: 0\r\n");
        match status {
            2 | 4 | 8 | 13 | 14 | 15 => expected.1 += 1,
            _ => expected.0 += 1,
        }
        settles(&format!("grpc-status {status}"), expected, || counted(&server, "v2"));
    }
    assert_eq!(expected, (11, 6));
}

/// A token as README's command makes one.
fn token(secret: &str, rollout: &str, expires: &str) -> String {
    let script = "printf \"%s.%s\" \"$2\" \"$(printf 'token\\0%s\\0%s' \"$1\" \"$2\" |\n\
                  openssl dgst -sha256 -hmac \"$0\" | sed 's/.*= *//' | cut -c 1-32)\"";
    let output = Command::new("sh").args(["-c", script, secret, rollout, expires]).output();
    String::from_utf8(output.expect("openssl").stdout).expect("text")
}

/// (body, the label that the origin was told) of a request with these fields.
fn asked(server: &Server, fields: &str) -> (String, String) {
    let answer = request(server.port(), "GET", "/", fields);
    let label = answer.header("x-label").unwrap_or_default().to_owned();
    (answer.text(), label)
}

#[test]
fn only_who_is_trusted_chooses_by_address_or_by_token() {
    const SECRET: &str = "0123456789abcdef";
    let says = |body: &'static str| {
        Origin::start(move |received| {
            let label = received.header("x-canary-version").unwrap_or("none").to_owned();
            Answer::new("200 OK", &format!("X-Label: {label}\r\n"), body)
        })
    };
    let (stable, canary) = (says("stable"), says("canary"));
    let start = |trust: &str| {
        Setup::new(Kind::Moongate)
            .with("STABLE", format!("127.0.0.1:{}", stable.port))
            .with("CANARY", format!("127.0.0.1:{}", canary.port))
            .file("conf/secret", &format!("{SECRET}\n"))
            .start(&format!(
                "http {{ upstream one {{ server $STABLE; }} upstream two {{ server $CANARY; }}\n\
                 rollout api {{ stable one version=v1; canary two version=v2; weight 0;\n\
                 header X-Canary-Version; cookie canary; {trust} }}\n\
                 server {{ listen 127.0.0.1:$PORT;\n\
                 location / {{ proxy_pass http://$rollout_api; }} }} }}"
            ))
    };
    let stays = ("stable".to_owned(), "v1".to_owned());
    let goes = ("canary".to_owned(), "v2".to_owned());
    let header = "X-Canary-Version: v2\r\n";
    let server = start("trust 10.0.0.0/8 2001:db8::/32;");
    assert_eq!(asked(&server, header), stays, "not from here");
    assert_eq!(asked(&server, "Cookie: canary=always\r\n"), stays);
    let server = start("trust 10.0.0.0/8 127.0.0.0/8;");
    assert_eq!(asked(&server, header), goes);
    assert_eq!(asked(&server, "Cookie: canary=always\r\n"), goes);
    let server = start("trust 10.0.0.0/8; trust token secret_file=secret header=X-Key;");
    let with = |token: &str| asked(&server, &format!("{header}X-Key: {token}\r\n"));
    let good = token(SECRET, "api", "4102444800");
    assert_eq!(asked(&server, header), stays, "no token");
    assert_eq!(with(&good), goes);
    assert_eq!(asked(&server, &format!("Cookie: canary=v2\r\nX-Key: {good}\r\n")), goes);
    for (what, bad) in [
        ("expired", token(SECRET, "api", "1000000000")),
        ("another rollout's", token(SECRET, "shop", "4102444800")),
        ("another secret's", token("0123456789abcdeF", "api", "4102444800")),
        ("a later end", good.replace("4102444800", "4102444801")),
        ("no signature", "4102444800.".to_owned()),
        ("nothing", String::new()),
    ] {
        assert_eq!(with(&bad), stays, "{what}");
    }
}

#[test]
fn an_upstream_of_http2_is_told_the_decided_label_too() {
    let (stable, canary) = (H2Origin::start(100), H2Origin::start(100));
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(
            "http { upstream one { server $STABLE; } upstream two { server $CANARY; }\n\
             rollout api { stable one version=v1; canary two version=v2;\n\
             header X-Canary-Version; weight 0; }\n\
             server { listen 127.0.0.1:$PORT; proxy_http_version 2;\n\
             location / { proxy_pass http://$rollout_api; } } }",
        );
    let forged = "X-Canary-Version: evil\r\nX-CANARY-VERSION: v2\r\n";
    assert_eq!(request(server.port(), "GET", "/", forged).status(), 200);
    assert_eq!(request(server.port(), "GET", "/", "X-Canary-Version: always\r\n").status(), 200);
    assert_eq!(stable.seen()[0].fields["x-canary-version"], "v1");
    assert_eq!(canary.seen()[0].fields["x-canary-version"], "v2");
}

#[test]
fn a_label_forged_over_http2_chooses_and_is_not_passed_on() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(
            "http { upstream one { server $STABLE; } upstream two { server $CANARY; }\n\
             rollout api { stable one version=v1; canary two version=v2;\n\
             header X-Canary-Version; weight 0; }\n\
             server { listen 127.0.0.1:$PORT http2;\n\
             location / { proxy_pass http://$rollout_api; } } }",
        );
    http2::run(async {
        let (requests, _) = http2::plain(server.port()).await;
        // The first field counts.
        for (labels, body) in [(["evil", "v2"], "stable"), (["v2", "evil"], "canary")] {
            let forged = labels.iter().fold(http2::request(Method::GET, "/"), |it, label| {
                it.header("x-canary-version", *label)
            });
            let forged = forged.body(()).expect("a request");
            let answer = http2::send(&requests, forged, b"").await.expect("an answer");
            assert_eq!(answer.text(), body, "{labels:?}");
        }
    });
    for (origin, label, count) in [(&stable, "v1", 1), (&canary, "v2", 1)] {
        let received = origin.received();
        assert_eq!(received.len(), count);
        for request in received {
            assert_eq!(request.head.all("x-canary-version"), [label]);
        }
    }
}

#[test]
fn who_has_no_key_goes_where_on_missing_says() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    for (on_missing, body, reason) in
        [("", "stable", "no_key"), ("on_missing=random", "canary", "random")]
    {
        let server = Setup::new(Kind::Moongate)
            .with("STABLE", format!("127.0.0.1:{}", stable.port))
            .with("CANARY", format!("127.0.0.1:{}", canary.port))
            .start(&format!(
                "http {{ upstream one {{ server $STABLE; }} upstream two {{ server $CANARY; }}\n\
                 rollout api {{ stable one; canary two version=v2; weight 100%;\n\
                 sticky $http_x_user {on_missing}; }}\n\
                 server {{ listen 127.0.0.1:$PORT; add_header X-Why $rollout_reason;\n\
                 location / {{ proxy_pass http://$rollout_api; }} }} }}"
            ));
        for fields in ["", "X-User:\r\n"] {
            let answer = request(server.port(), "GET", "/", fields);
            assert_eq!((answer.text().as_str(), answer.header("x-why")), (body, Some(reason)));
        }
        let answer = request(server.port(), "GET", "/", "X-User: alice\r\n");
        assert_eq!((answer.text().as_str(), answer.header("x-why")), ("canary", Some("weight")));
    }
}
