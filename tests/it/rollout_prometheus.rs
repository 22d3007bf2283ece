//! Evidence from a real Prometheus: enough of it advances, a bad canary is rolled back, an outage
//! does neither.

use crate::harness::client::{Client, get, request};
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::{eventually, ports, settles};
use crate::rollout_control::{rollout_command, status};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Debian's Prometheus, which scrapes a gateway every second; it is killed when this goes.
struct Prometheus {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(port: u16, admin: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let conf = format!(
            "global: {{ scrape_interval: 200ms }}\n\
             scrape_configs: [ {{ job_name: moongate, static_configs: \
             [ {{ targets: ['127.0.0.1:{admin}'] }} ] }} ]\n"
        );
        let path = folder.path().join("prometheus.yml");
        std::fs::write(&path, conf).expect("a file");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's prometheus is installed: sh tests/setup.sh tests");
        let prometheus = Self { child, _folder: folder };
        eventually("Prometheus is ready", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
            (get(port, "/-/ready").status() == 200).then_some(())
        });
        prometheus
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Some hundred requests a second until it goes.
struct Load(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Load {
    fn start(port: u16) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let asking = move || {
            let mut client = Client::connect(port).expect("it listens");
            while !stop.load(Ordering::SeqCst) {
                client.get("/").expect("an answer");
                std::thread::sleep(Duration::from_millis(3));
            }
        };
        Self(over, Some(std::thread::spawn(asking)))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        let _ = self.1.take().map(std::thread::JoinHandle::join);
    }
}

/// What is asked for: the series as they are.
const QUERY: &str = "{__name__=~'http_requests_total|http_request_duration_seconds_bucket',\
                     job='moongate', location='/'}";

fn start(canary: &Origin, prometheus: u16, lines: &str) -> (Server, Origin) {
    start_with(canary, prometheus, lines, &format!("\"{QUERY}\""))
}

fn start_with(canary: &Origin, prometheus: u16, lines: &str, query: &str) -> (Server, Origin) {
    let stable = Origin::saying("stable");
    let conf = format!(
        "http {{ access_log off;\n\
         upstream one {{ server 127.0.0.1:$STABLE; }} upstream two {{ server 127.0.0.1:$CANARY; }}\n\
         rollout api {{ stable one; canary two version=v2; {lines}\n\
         evidence prometheus http://127.0.0.1:{prometheus} {query} interval=300ms; }}\n\
         server {{ listen 127.0.0.1:$PORT; keepalive_requests 1000000;\n\
         location / {{ proxy_pass http://$rollout_api; }} }} }}"
    );
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", stable.port)
        .with("CANARY", canary.port)
        .start(&conf);
    (server, stable)
}

fn word(server: &Server, name: &str) -> String {
    status(server)[name].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_bad_canary_is_rolled_back_by_what_prometheus_knows_and_not_by_its_outage() {
    let is_ill = Arc::new(AtomicBool::new(false));
    let ill = Arc::clone(&is_ill);
    let canary = Origin::start(move |_| match ill.load(Ordering::SeqCst) {
        true => Answer::new("500 Internal Server Error", "", "ill"),
        false => Answer::ok("canary"),
    });
    let port = ports::free();
    let lines = "steps 25% 1s, 50% 1h, 100%; min_requests 20;";
    let (server, _stable) = start(&canary, port, lines);
    let admin = server.named_port("ADMIN");
    // Nobody to ask: it holds, and says so.
    server.expect_logged("rollout \"api\" holds, http://127.0.0.1:");
    settles("the reason", true, || word(&server, "evidence_fault").contains("connect() failed"));
    let load = Load::start(server.port());
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        (word(&server, "state").as_str(), &status(&server)["weight"]),
        ("running", &2500.into())
    );
    // With evidence the step ends.
    let prometheus = Prometheus::start(port, admin);
    settles("it advances", Value::from(5000), || status(&server)["weight"].clone());
    assert_eq!(status(&server)["evidence_fault"], Value::Null);
    server.expect_logged("has evidence");
    // An outage, with a canary that fails meanwhile: neither is a rollback.
    drop(prometheus);
    settles("the outage is seen", true, || word(&server, "evidence_fault").contains("connect()"));
    is_ill.store(true, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        (word(&server, "state").as_str(), &status(&server)["weight"]),
        ("running", &5000.into())
    );
    let (_, said) = rollout_command(&server, "status api");
    assert!(said.contains("MISSING, nothing advances: connect() failed (111:"), "{said}");
    let metrics = get(admin, "/metrics").text();
    assert!(
        metrics.contains("moongate_rollout_evidence_faults_total{rollout=\"api\"} "),
        "{metrics}"
    );
    // It is back: now it is known, and the canary is off.
    let _prometheus = Prometheus::start(port, admin);
    settles("it is rolled back", "rolled_back".to_owned(), || word(&server, "state"));
    assert_eq!(status(&server)["weight"], 0);
    assert_eq!(get(server.port(), "/").text(), "stable");
    drop(load);
}

#[test]
fn without_traffic_nothing_advances_however_well_prometheus_is() {
    let canary = Origin::saying("canary");
    let port = ports::free();
    let (server, _stable) = start(&canary, port, "steps 25% 1ms, 100%; min_requests 1;");
    let _prometheus = Prometheus::start(port, server.named_port("ADMIN"));
    settles("no data is said", "no request for 1500ms".to_owned(), || {
        word(&server, "evidence_fault")
    });
    assert_eq!(
        (word(&server, "state").as_str(), &status(&server)["weight"]),
        ("running", &2500.into())
    );
    let (_, said) = rollout_command(&server, "status api");
    assert!(said.contains(&format!("evidence  http://127.0.0.1:{port}\n")), "{said}");
}

#[test]
fn testers_who_ask_for_a_broken_canary_are_judged_but_not_compared() {
    // Broken for testers only, until it is for everybody.
    let is_ill = Arc::new(AtomicBool::new(false));
    let ill = Arc::clone(&is_ill);
    let canary = Origin::start(move |received| {
        match ill.load(Ordering::SeqCst) || received.header("x-tester").is_some() {
            true => Answer::new("500 Internal Server Error", "", "ill"),
            false => Answer::ok("canary"),
        }
    });
    let port = ports::free();
    let lines = "header X-Canary-Version; weight 5%; sticky $arg_user on_missing=random;";
    let (server, _stable) = start_with(&canary, port, lines, "");
    let admin = server.named_port("ADMIN");
    let _prometheus = Prometheus::start(port, admin);
    for user in 0..50 {
        get(server.port(), &format!("/?user={user}"));
    }
    settles("it has evidence", Value::Null, || status(&server)["evidence_fault"].clone());
    let number =
        |name: &str| status(&server)["canaries"][0]["failures"][name].as_f64().expect("a number");
    // One failure a second counts of a tester without a key.
    let fields = "X-Canary-Version: v2\r\nX-Tester: 1\r\n";
    eventually("the canary is over its limit", || {
        assert_eq!(request(server.port(), "GET", "/", fields).status(), 500);
        (number("e1") >= 5.0).then_some(())
    });
    let metrics = get(admin, "/metrics").text();
    let counted = |by: &str, result: &str| {
        let labels = format!(
            "{{by=\"{by}\",canary_version=\"v2\",limit=\"5xx_rate\",result=\"{result}\",\
             rollout=\"api\"}} "
        );
        let line = metrics.lines().find_map(|it| {
            it.strip_prefix("moongate_rollout_evidence_total")?.strip_prefix(&labels)
        });
        line.expect("the series").parse::<u64>().expect("a count")
    };
    assert!(counted("choice", "bad") >= 2, "{metrics}");
    assert_eq!((counted("choice", "good"), counted("weight", "bad")), (0, 0));
    assert!(number("e2") < 1.0);
    assert_eq!(word(&server, "state"), "steady", "nobody by weight was hurt");
    is_ill.store(true, Ordering::SeqCst);
    let load = Load::start(server.port());
    settles("it is rolled back", "rolled_back".to_owned(), || word(&server, "state"));
    drop(load);
}
