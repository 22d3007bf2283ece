//! `grpc_pass` between a gRPC client and a gRPC server, both Debian's grpcio.

use crate::harness::client::{get, request};
use crate::harness::frames::{self, DATA, HEADERS, STATUS_200, field, frame};
use crate::harness::h2_origin::H2Origin;
use crate::harness::ports;
use crate::harness::raw_origin::RawOrigin;
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::tls::Identity;
use crate::harness::{PATIENCE, eventually, settles};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Debian's Python, which has Debian's grpcio (`tests/setup.sh tests`).
const PYTHON: &str = "/usr/bin/python3";

fn script() -> Command {
    let mut command = Command::new(PYTHON);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/grpc_peer.py"));
    command
}

/// A gRPC server, which ends with its owner.
struct Peer {
    port: u16,
    child: Child,
}

impl Peer {
    fn start(most_streams: Option<u32>) -> Self {
        let port = ports::free();
        let mut command = script();
        command.args(["server", &port.to_string()]).args(most_streams.map(|it| it.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python");
        let mut said = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut said).expect("it is text");
        assert_eq!(said, "ready\n", "python3-grpcio is not there: sh tests/setup.sh tests");
        Self { port, child }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the client says of one call.
fn call(port: u16, call: &str, argument: &str) -> String {
    let output =
        script().args(["client", &port.to_string(), call, argument]).output().expect("Python");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{call} {argument}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn gateway(origin: u16, settings: &str) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{origin}")).start(&format!(
        "http {{ upstream pool {{ server $ORIGIN max_fails=0; keepalive 4; }}\n\
         log_format s '$status $upstream_status $upstream_http_grpc_status \
         $upstream_trailer_grpc_status $sent_trailer_grpc_status $http_canary_version';\n\
         access_log logs/access.log s;\n\
         server {{ listen 127.0.0.1:$PORT http2; client_max_body_size 0; {settings}\n\
         location / {{ grpc_pass grpc://pool; }} location = /metrics {{ metrics; }} }} }}"
    ))
}

#[track_caller]
fn logged(server: &Server, lines: &str) {
    settles("access.log", lines.to_owned(), || server.read("logs/access.log"));
}

#[test]
fn calls_of_every_kind_are_as_without_a_gateway() {
    let peer = Peer::start(None);
    let server = gateway(peer.port, "grpc_set_header Host $http_host;");
    for (kind, argument) in [
        ("unary", "hello"),
        ("unary", "size 4000000"),
        ("unary", "large 4000000"),
        ("unary", "fail 5"),
        ("unary", "fail 14"),
        ("server_stream", "2000"),
        ("client_stream", "50"),
        ("bidi", "20"),
        ("bidi_status", ""),
        ("cancel", ""),
    ] {
        let direct = call(peer.port, kind, argument);
        let passed = call(server.port(), kind, argument);
        let of_direct = direct.replace(&peer.port.to_string(), "PORT");
        let of_passed = passed.replace(&server.port().to_string(), "PORT");
        // The server counts on.
        let of_passed = of_passed.replace("cancelled 2", "cancelled 1");
        assert_eq!(of_passed, of_direct, "{kind} {argument}");
    }
    assert_eq!(call(server.port(), "many", "200"), "right 200\n");
    let deadline = call(server.port(), "deadline", "0.5");
    assert!(deadline.starts_with("status DEADLINE_EXCEEDED\n"), "{deadline}");
    assert!(deadline.ends_with("soon True\n"), "{deadline}");
}

#[test]
fn metadata_is_set_read_and_hidden() {
    let peer = Peer::start(None);
    let settings = "grpc_set_header canary-version v2; grpc_set_header x-from '';\n\
                    grpc_set_header x-was $http_canary_version; grpc_hide_header seen-authority;";
    let server = gateway(peer.port, settings);
    let said = call(server.port(), "unary", "hello");
    assert!(said.contains("head seen-canary-version v2\n"), "{said}");
    assert!(said.contains("head seen-x-was forged\n"), "{said}");
    assert!(!said.contains("seen-x-from") && !said.contains("seen-authority"), "{said}");
    let failed = call(server.port(), "unary", "fail 13");
    assert!(failed.starts_with("status INTERNAL\n"), "{failed}");
    logged(&server, "200 200 - 0 0 forged\n200 200 - 13 13 forged\n");
}

#[test]
fn statuses_are_counted() {
    let peer = Peer::start(None);
    let server = gateway(peer.port, "");
    for argument in ["a", "b", "fail 14"] {
        call(server.port(), "unary", argument);
    }
    let text = get(server.port(), "/metrics").text();
    for labels in
        ["grpc_status=\"0\",upstream=\"pool\"} 2", "grpc_status=\"14\",upstream=\"pool\"} 1"]
    {
        let line = format!("moongate_upstream_grpc_responses_total{{{labels}\n");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_server_that_allows_two_streams_gets_two_at_a_time_on_a_connection() {
    let peer = Peer::start(Some(2));
    let server = gateway(peer.port, "");
    assert_eq!(call(server.port(), "many", "60"), "right 60\n");
    assert!(!server.error_log().contains("[error]"), "{}", server.error_log());
}

#[test]
fn no_server_is_unavailable() {
    let closed = ports::free();
    let server = gateway(closed, "");
    let said = call(server.port(), "unary", "hello");
    assert!(said.starts_with("status UNAVAILABLE\n"), "{said}");
    server.expect_logged("connect() failed (111: Connection refused) while connecting to upstream");
    server.expect_logged(&format!("upstream: \"grpc://127.0.0.1:{closed}\""));
    logged(&server, "502 502 - - - forged\n");
}

#[test]
fn a_silent_server_is_unavailable_when_the_time_is_up() {
    let origin = RawOrigin::start(|_, stream| {
        frames::begin(stream);
        while frames::read(stream).is_some() {}
    });
    let server = gateway(origin.port, "grpc_read_timeout 300ms;");
    let began = Instant::now();
    let said = call(server.port(), "unary", "hello");
    assert!(said.starts_with("status UNAVAILABLE\n"), "{said}");
    assert!(began.elapsed() < PATIENCE / 2);
    logged(&server, "504 504 - - - forged\n");
}

#[test]
fn a_server_that_is_lost_within_its_answer_is_unavailable_and_never_ok() {
    let origin = RawOrigin::start(|number, stream| {
        if !frames::begin(stream) {
            return;
        }
        let Some(id) = frames::next_request(stream) else { return };
        let fields = [STATUS_200, &field("content-type", "application/grpc")].concat();
        let head = frame(HEADERS, 4, id, &fields);
        // A message of ten bytes, of which four come.
        let body = frame(DATA, 0, id, b"\0\0\0\0\x0a1234");
        let mut bytes = [head, body].concat();
        if number > 0 {
            bytes.extend(frame(frames::RST_STREAM, 0, id, &2u32.to_be_bytes()));
        }
        stream.write_all(&bytes).expect("it is read");
        if number > 0 {
            while frames::read(stream).is_some() {}
        }
    });
    let server = gateway(origin.port, "");
    for what in ["the connection ends", "the stream is reset"] {
        let said = call(server.port(), "unary", "hello");
        assert!(said.starts_with("status UNAVAILABLE\n"), "{what}: {said}");
    }
    server.expect_logged("upstream prematurely closed connection");
    server.expect_logged("upstream rejected request with error 2");
    let text = request(server.port(), "GET", "/metrics", "").text();
    assert!(text.contains("grpc_status=\"14\""), "{text}");
}

#[test]
fn a_variant_s_label_is_metadata_and_the_client_s_own_is_none() {
    let peer = Peer::start(None);
    let server =
        Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", peer.port)).start(
            "http { upstream one { server $ORIGIN; } upstream two { server $ORIGIN; }\n\
         rollout api { stable one; canary two version=v2; weight 100%; }\n\
         server { listen 127.0.0.1:$PORT http2;\n\
         location / { grpc_pass grpc://$rollout_api; } } }",
        );
    settles("it is told", true, || {
        call(server.port(), "unary", "hello").contains("head seen-canary-version v2\n")
    });
    assert!(!call(server.port(), "unary", "hello").contains("forged"));
}

/// An origin whose calls all end with this status, in their trailers.
fn ending_with(status: &'static str) -> RawOrigin {
    RawOrigin::start(move |_, stream| {
        if !frames::begin(stream) {
            return;
        }
        while let Some(id) = frames::next_request(stream) {
            let fields = [STATUS_200, &field("content-type", "application/grpc")].concat();
            let head = frame(HEADERS, 4, id, &fields);
            let trailers = frame(HEADERS, 5, id, &field("grpc-status", status));
            if stream.write_all(&[head, trailers].concat()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn probes_of_a_rollout_s_variants_carry_their_labels() {
    let (stable, canary) = (H2Origin::start(100), H2Origin::start(100));
    let _server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(
            "http { upstream one { server $STABLE; health_check type=grpc interval=20ms; }\n\
             upstream two { server $CANARY; health_check type=grpc interval=20ms; }\n\
             rollout api { stable one version=v1; canary two version=v2; weight 0; }\n\
             server { listen 127.0.0.1:$PORT http2;\n\
             location / { grpc_pass grpc://$rollout_api; } } }",
        );
    for (origin, label) in [(&stable, "v1"), (&canary, "v2")] {
        let probe = eventually("a probe", || origin.seen().into_iter().next());
        assert!(probe.line.ends_with("/grpc.health.v1.Health/Check"), "{}", probe.line);
        assert_eq!(probe.fields["canary-version"], label);
    }
}

#[test]
fn a_canary_whose_calls_fail_by_their_trailers_loses_its_traffic() {
    let (stable, canary, busy) = (ending_with("0"), ending_with("14"), ending_with("5"));
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .with("BUSY", format!("127.0.0.1:{}", busy.port))
        .start(
            "http { upstream one { server $STABLE; } upstream two { server $CANARY; }\n\
             upstream three { server $BUSY; }\n\
             rollout api { stable one; canary two version=v2; sticky $arg_user; weight 30%; }\n\
             rollout busy { stable one; canary three version=v2; sticky $arg_user; weight 30%; }\n\
             server { listen 127.0.0.1:$PORT;\n\
             location / { grpc_pass grpc://$rollout_api; }\n\
             location /busy { grpc_pass grpc://$rollout_busy; }\n\
             location = /state { content_by_lua_block {\n\
             local rollout = require 'moongate.rollout'\n\
             ngx.say(rollout.state('api'), ' ', rollout.state('busy')) } } } }",
        );
    let mut user = 0;
    settles("it is off, and NOT_FOUND is no failure", "rolled_back steady\n".to_owned(), || {
        for _ in 0..20 {
            user += 1;
            for path in ["/", "/busy"] {
                let uri = format!("{path}?user={user}");
                request(server.port(), "POST", &uri, "Content-Length: 0\r\n");
            }
        }
        get(server.port(), "/state").text()
    });
}

#[test]
fn probes_ask_over_tls_too_and_carry_metadata() {
    let authority = Identity::new("our CA");
    let origin = H2Origin::secure(&authority.signs("origin.test", 5));
    let _server = Setup::new(Kind::Moongate)
        .with("ORIGIN", format!("127.0.0.1:{}", origin.port))
        .start(
            "http { upstream pool { server $ORIGIN;\n\
             health_check type=grpc grpc_service=api interval=20ms header \"canary-version: v2\"; }\n\
             server { listen 127.0.0.1:$PORT; location / { grpc_pass grpcs://pool; } } }",
        );
    let probe = eventually("a probe", || origin.seen().into_iter().next());
    assert_eq!(probe.line, "POST https://pool/grpc.health.v1.Health/Check");
    assert_eq!(probe.fields["canary-version"], "v2");
    assert_eq!(probe.body, b"\0\0\0\0\x05\x0a\x03api");
}

#[test]
fn a_canary_whose_calls_fail_is_rolled_back_and_one_that_says_not_found_is_not() {
    let peer = Peer::start(None);
    let server =
        Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", peer.port)).start(
            "http { upstream one { server $ORIGIN; } upstream two { server $ORIGIN; }\n\
             rollout api { stable one version=v1; canary two version=v2; weight 50%;\n\
             sticky $request_id; limit 5xx_rate > 1%; }\n\
             server { listen 127.0.0.1:$PORT http2;\n\
             location / { grpc_pass grpc://$rollout_api; }\n\
             location /state { content_by_lua_block {\n\
             ngx.say(require 'moongate.rollout'.state('api')) } } } }",
        );
    let state = || get(server.port(), "/state").text().trim().to_owned();
    // NOT_FOUND is an answer.
    call(server.port(), "failing", "5 400");
    assert_eq!(state(), "steady");
    eventually("it is rolled back", || {
        call(server.port(), "failing", "14 80");
        (state() == "rolled_back").then_some(())
    });
    let said = call(server.port(), "unary", "hello");
    assert!(said.contains("head seen-canary-version v1\n"), "{said}");
}
