//! Faults on either side: what breaks costs the request that it belongs to, and nothing else.

use crate::harness::client::{Client, get, request};
use crate::harness::origin::{Answer, Origin, Reply};
use crate::harness::server::{Kind, Server, Setup, gateway};
use crate::harness::{eventually, settles};
use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn proxied(origin: &Origin, settings: &str, locations: &str) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(&format!(
        "http {{ {settings} server {{ listen 127.0.0.1:$PORT;\n\
         location /fine {{ return 200 fine; }} {locations} }} }}"
    ))
}

const TO_ORIGIN: &str = "location / { proxy_pass http://$ORIGIN; }";

#[test]
fn maps_that_name_each_other_cost_a_log_line() {
    let server = gateway(
        "http { map $b $a { default $b; } map $a $b { default $a; } map $c $c { default 1; }\n\
         server { listen 127.0.0.1:$PORT;\n\
         location /ab { return 200 \"[$a]\"; } location /c { return 200 \"[$c]\"; } } }",
    );
    assert_eq!(get(server.port(), "/ab").text(), "[]");
    assert_eq!(get(server.port(), "/c").text(), "[1]");
    server.expect_logged("cycle while evaluating variable");
}

#[test]
fn ten_thousand_locations_start_and_route() {
    let locations: String =
        (0..10_000).map(|it| format!("location /api/{it} {{ return 200 {it}; }}\n")).collect();
    let began = Instant::now();
    let server = gateway(&format!("http {{ server {{ listen 127.0.0.1:$PORT; {locations} }} }}"));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(get(server.port(), "/api/9999/x").text(), "9999");
    assert_eq!(get(server.port(), "/api/1x").text(), "1");
}

#[test]
fn a_redirect_may_be_written_with_what_the_response_has() {
    let origin = Origin::start(|_| {
        Answer::new("302 Found", "Location: http://inner.x/c\r\nX-Zone: x\r\n", "")
    });
    let locations = "location / { proxy_redirect http://inner.$upstream_http_x_zone/ \
                     http://outer/$sent_http_x_zone; proxy_pass http://$ORIGIN; }";
    let server = proxied(&origin, "", locations);
    assert_eq!(get(server.port(), "/").header("location"), Some("http://outer/c"));
}

#[test]
fn two_framings_of_an_upstream_are_none() {
    let origin = Origin::start(|_| {
        Answer::Reply(Reply {
            parts: vec![
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
                  2\r\nok\r\n0\r\n\r\n"
                    .to_vec(),
            ],
            ..Reply::default()
        })
    });
    let server = proxied(&origin, "", TO_ORIGIN);
    assert_eq!(get(server.port(), "/").status(), 502);
    server.expect_logged("\"Content-Length\" and \"Transfer-Encoding\" headers at the same time");
}

#[test]
fn what_answers_for_an_upstream_keeps_the_fields_that_nginx_keeps() {
    let origin = Origin::start(|request| match request.target() {
        "/accel" => Answer::new(
            "200 OK",
            "X-Accel-Redirect: /inner\r\nContent-Type: text/a\r\nSet-Cookie: a=b\r\n\
             Set-Cookie: c=d\r\nCache-Control: no-cache\r\nETag: x\r\n",
            "",
        ),
        _ => Answer::new("401 No", "WWW-Authenticate: Basic realm=x\r\nX-Other: y\r\n", ""),
    });
    let locations = "location /inner { internal; return 200 \"inner $status\"; }\n\
         location / { proxy_intercept_errors on; error_page 401 /inner; proxy_pass http://$ORIGIN; }\n\
         location /lua { error_page 403 /inner; access_by_lua_block {\n\
         ngx.header.X_Reason = 'why' ngx.exit(403) } }";
    let server = proxied(&origin, "", locations);
    let accel = get(server.port(), "/accel");
    assert_eq!(accel.header("content-type"), Some("text/a"));
    assert_eq!(accel.head.all("set-cookie"), ["a=b", "c=d"]);
    assert_eq!((accel.header("cache-control"), accel.header("etag")), (Some("no-cache"), None));
    let denied = get(server.port(), "/401");
    assert_eq!((denied.status(), denied.text().as_str()), (401, "inner 401"));
    assert_eq!(denied.header("www-authenticate"), Some("Basic realm=x"));
    assert_eq!(denied.header("x-other"), None);
    let by_lua = get(server.port(), "/lua");
    assert_eq!((by_lua.status(), by_lua.header("x-reason")), (403, Some("why")));
}

#[test]
fn an_upload_that_breaks_off_leaves_no_file() {
    let origin = Origin::saying("fine");
    let settings = "client_body_temp_path tmp/bodies; client_body_buffer_size 8k;\n\
                    log_format s $status; access_log logs/access.log s;";
    let server = proxied(&origin, settings, TO_ORIGIN);
    let folder = server.prefix().join("tmp/bodies");
    let files = || fs::read_dir(&folder).map_or(0, Iterator::count);
    let mut client = Client::connect(server.port()).expect("it listens");
    client
        .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
        .and_then(|()| client.send(vec![b'a'; 100_000]))
        .expect("it reads");
    eventually("the body is in a file", || (files() == 1).then_some(()));
    drop(client);
    settles("the file is removed", 0, files);
    settles("it is a bad request", "400\n".to_owned(), || server.read("logs/access.log"));
    assert!(origin.received().is_empty());
}

#[test]
fn bodies_in_files_stay_or_go_with_their_request() {
    let origin = Origin::saying("fine");
    let settings = "client_body_temp_path tmp/bodies; client_body_in_file_only clean;";
    let locations = "location / { proxy_pass http://$ORIGIN; }\n\
                     location /kept { client_body_in_file_only on; proxy_pass http://$ORIGIN; }";
    let server = proxied(&origin, settings, locations);
    let folder = server.prefix().join("tmp/bodies");
    let files = || fs::read_dir(&folder).map_or(0, Iterator::count);
    let post = |path: &str, body: &str| {
        let mut client = Client::connect(server.port()).expect("it listens");
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        client.send(head + body).expect("it reads");
        assert_eq!(client.response("POST").map(|it| it.status()).ok(), Some(200));
    };
    post("/", "gone");
    settles("the file went with the request", 0, files);
    post("/kept", "kept");
    settles("the file stays", 1, files);
    let kept = fs::read_dir(&folder).expect("it is there").next().expect("a file");
    assert_eq!(fs::read(kept.expect("a file").path()).ok().as_deref(), Some(&b"kept"[..]));
    let bodies: Vec<_> = origin.received().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies, [b"gone".to_vec(), b"kept".to_vec()]);
}

#[test]
fn a_chunk_that_is_none_is_a_bad_request() {
    let origin = Origin::saying("fine");
    let server = proxied(&origin, "", TO_ORIGIN);
    let mut client = Client::connect(server.port()).expect("it listens");
    client
        .send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .expect("it reads");
    assert_eq!(client.response("POST").map(|it| it.status()).ok(), Some(400));
    assert!(client.ends());
}

#[test]
fn connections_that_close_without_an_answer_are_logged_with_their_status() {
    let server = gateway(
        "http { log_format s '$uri $status'; access_log logs/access.log s;\n\
         server { listen 127.0.0.1:$PORT; location /return { return 444; }\n\
         location /lua { content_by_lua_block { ngx.exit(444) } } } }",
    );
    for uri in ["/return", "/lua"] {
        let mut client = Client::connect(server.port()).expect("it listens");
        client.send(format!("GET {uri} HTTP/1.1\r\nHost: x\r\n\r\n")).expect("it reads");
        assert!(client.ends());
    }
    settles("both are logged", "/return 444\n/lua 444\n".to_owned(), || {
        server.read("logs/access.log")
    });
}

/// A head, three bytes of a longer body, and nothing more for a while.
fn begins_and_waits() -> Origin {
    Origin::start(|_| {
        Answer::Reply(Reply {
            parts: vec![
                b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc".to_vec(),
                b"d".to_vec(),
                b"e".to_vec(),
            ],
            pause: Duration::from_secs(8),
            ..Reply::default()
        })
    })
}

#[test]
fn a_client_that_leaves_within_a_body_ends_the_exchange_at_once() {
    let origin = begins_and_waits();
    let settings = "log_format s '$status $upstream_bytes_received'; access_log logs/access.log s;";
    let server = proxied(&origin, settings, TO_ORIGIN);
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    eventually("the origin has the request", || (!origin.received().is_empty()).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    drop(client);
    settles("it is logged", "200 43\n".to_owned(), || server.read("logs/access.log"));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_client_that_takes_nothing_is_cut_after_send_timeout() {
    let origin = Origin::start(|_| Answer::ok(&"x".repeat(40 << 20)));
    let settings = "send_timeout 500ms; log_format s $status; access_log logs/access.log s;";
    let server = proxied(&origin, settings, TO_ORIGIN);
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    settles("the request ends", "200\n".to_owned(), || server.read("logs/access.log"));
    server.expect_logged("client timed out (110: Connection timed out) while sending to client");
    assert_eq!(get(server.port(), "/fine").text(), "fine");
}

#[test]
fn kept_connections_that_die_as_they_are_used_cost_no_request() {
    let origin = Origin::start(|request| match request.connection % 2 {
        // The second request of a connection is never answered.
        0 if request.target() == "/second" => Answer::Reset,
        _ => Answer::ok("fine"),
    });
    let settings = "upstream pool { server $ORIGIN; keepalive 8; }\n\
         log_format s '$upstream_status'; access_log logs/access.log s;";
    let locations = "location / { proxy_http_version 1.1; proxy_set_header Connection '';\n\
                     proxy_pass http://pool; }";
    let server = proxied(&origin, settings, locations);
    assert_eq!(get(server.port(), "/first").text(), "fine");
    let second = get(server.port(), "/second");
    assert_eq!((second.status(), second.text().as_str()), (200, "fine"));
    settles("both are logged", "200\n502, 200\n".to_owned(), || server.read("logs/access.log"));
    let metrics = get(server.named_port("ADMIN"), "/metrics").text();
    let fails = metrics.lines().find(|it| it.starts_with("moongate_upstream_peer_fails_total"));
    assert!(fails.is_some_and(|it| it.ends_with(" 0")), "{fails:?}");
}

#[test]
fn the_bytes_of_an_exchange_are_counted() {
    let origin = Origin::saying("fine");
    let settings = "log_format s '$bytes_sent $upstream_bytes_sent $upstream_bytes_received';\n\
                    access_log logs/access.log s;";
    let server = proxied(&origin, settings, TO_ORIGIN);
    let answer = request(server.port(), "HEAD", "/", "X-A: b\r\n");
    let head = |it: &str| it.lines().map(|line| line.len() + 2).sum::<usize>() + 2;
    let sent = head(&origin.received()[0].head.text());
    // This origin answers HEAD with a body, which nobody wants and nginx counts.
    let head_received = head("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 4");
    let received = head_received + "fine".len();
    let line = format!("{} {sent} {received}\n", head(&answer.head.text()));
    settles("it is logged", line, || server.read("logs/access.log"));
}

#[test]
fn a_folded_line_of_an_upstream_is_a_502() {
    let origin =
        Origin::start(|_| Answer::new("200 OK", "X-A: b\r\n Content-Length: 900\r\n", "ok"));
    let server = proxied(&origin, "", TO_ORIGIN);
    assert_eq!(get(server.port(), "/").status(), 502);
    server.expect_logged("upstream sent invalid header while reading response header");
}

#[test]
fn a_body_filter_may_be_named_by_the_request() {
    let server =
        Setup::new(Kind::Moongate).file("upper.lua", "ngx.arg[1] = ngx.arg[1]:upper()").start(
            "http { server { listen 127.0.0.1:$PORT; location / {\n\
             body_filter_by_lua_file $arg_filter.lua; return 200 fine; } } }",
        );
    assert_eq!(get(server.port(), "/?filter=upper").text(), "FINE");
    assert_eq!(get(server.port(), "/?filter=missing").status(), 500);
    assert_eq!(get(server.port(), "/?filter=upper").text(), "FINE");
}

#[test]
fn a_peer_that_answers_before_it_has_read_everything_is_heard() {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let read = stream.read(&mut [0; 100]).expect("a head");
        assert!(read > 0, "it begins");
        stream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\n").expect("it reads");
        std::thread::sleep(Duration::from_millis(600));
        stream.write_all(b"no").expect("it reads");
        // Open until the gateway leaves: the connection must not be kept.
        let (second, _) = listener.accept().expect("another connection");
        drop((stream, second));
    });
    let server = Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{port}")).start(
        "http { client_max_body_size 50m; upstream pool { server $ORIGIN; keepalive 4; }\n\
         server { listen 127.0.0.1:$PORT; location / { proxy_send_timeout 300ms;\n\
         proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://pool; } } }",
    );
    let mut client = Client::connect(server.port()).expect("it listens");
    let size = 30 << 20;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"))
        .and_then(|()| client.send(vec![b'a'; size]))
        .expect("it reads");
    assert_eq!(client.response("POST").map(|it| (it.status(), it.text())).ok(), {
        Some((413, "no".to_owned()))
    });
    assert_eq!(get(server.port(), "/").status(), 502);
    peer.join().expect("it got two connections");
}
