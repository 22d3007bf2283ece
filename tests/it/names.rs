//! Names of upstreams: resolved without a worker waiting, by TTL, by /etc/hosts, and what happens
//! when they are not.

use crate::harness::client::get;
use crate::harness::dns::{Dns, Records};
use crate::harness::origin::Origin;
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::{ports, settles};
use std::net::Ipv4Addr;

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Two origins on one port of two addresses.
fn two() -> (Origin, Origin) {
    let port = ports::free();
    (Origin::saying_at(ONE, port, "one"), Origin::saying_at(TWO, port, "two"))
}

fn start(dns: &Dns, origin: &Origin, conf: &str) -> Server {
    Setup::new(Kind::Moongate)
        .with("DNS", format!("127.0.0.1:{}", dns.port))
        .with("OPORT", origin.port)
        .start(conf)
}

const BY_VARIABLE: &str = "http { resolver $DNS ipv6=off; resolver_timeout 500ms;\n\
     server { listen 127.0.0.1:$PORT; location /fine { return 200 fine; }\n\
     location / { set $name app.test; proxy_pass http://$name:$OPORT; } } }";

#[test]
fn a_name_in_a_variable_is_resolved_and_followed_by_its_ttl() {
    let ((one, _two), dns) = (two(), Dns::start(1));
    dns.set("app.test", Records::Addresses(vec![ONE]));
    let server = start(&dns, &one, BY_VARIABLE);
    for _ in 0..10 {
        assert_eq!(get(server.port(), "/").text(), "one");
    }
    assert!(dns.queries("app.test") < 10, "an answer is kept as long as its TTL says");
    dns.set("app.test", Records::Addresses(vec![TWO]));
    settles("the new address", "two".to_owned(), || get(server.port(), "/").text());
}

#[test]
fn a_name_that_is_not_resolved_is_a_502_with_its_reason() {
    let ((one, _two), dns) = (two(), Dns::start(1));
    let server = start(&dns, &one, BY_VARIABLE);
    assert_eq!(get(server.port(), "/").status(), 502);
    server.expect_logged("app.test could not be resolved (3: Host not found)");
    dns.set("app.test", Records::Code(2));
    settles("the other reason", true, || {
        assert_eq!(get(server.port(), "/").status(), 502);
        server.error_log().contains("app.test could not be resolved (2: Server failure)")
    });
}

#[test]
fn a_silent_name_server_delays_nobody_else() {
    let ((one, _two), dns) = (two(), Dns::start(1));
    dns.set("app.test", Records::Silence);
    let conf = BY_VARIABLE.replace("500ms", "3s");
    let server = start(&dns, &one, &conf);
    let port = server.port();
    let waiting = std::thread::spawn(move || get(port, "/").status());
    crate::harness::eventually("the query", || (dns.queries("app.test") > 0).then_some(()));
    for _ in 0..20 {
        assert_eq!(get(port, "/fine").text(), "fine");
    }
    assert!(!waiting.is_finished(), "the others did not wait for the name");
    assert_eq!(waiting.join().expect("it is answered"), 502);
    server.expect_logged("app.test could not be resolved (110: Operation timed out)");
}

#[test]
fn an_upstream_follows_its_name() {
    let ((one, _two), dns) = (two(), Dns::start(1));
    dns.set("app.test", Records::Addresses(vec![ONE]));
    let server = start(
        &dns,
        &one,
        "http { resolver $DNS ipv6=off; upstream pool { server app.test:$OPORT; }\n\
         server { listen 127.0.0.1:$PORT; location / { proxy_pass http://pool; } } }",
    );
    assert_eq!(get(server.port(), "/").text(), "one");
    dns.set("app.test", Records::Addresses(vec![TWO]));
    settles("the new address", "two".to_owned(), || get(server.port(), "/").text());
    dns.set("app.test", Records::Code(3));
    server.expect_logged("app.test");
    assert_eq!(get(server.port(), "/").text(), "two", "a lost name keeps its addresses");
}

#[test]
fn all_addresses_of_a_name_are_peers() {
    let ((one, _two), dns) = (two(), Dns::start(60));
    dns.set("app.test", Records::Addresses(vec![ONE, TWO]));
    let server = start(&dns, &one, BY_VARIABLE);
    let mut texts: Vec<String> = (0..10).map(|_| get(server.port(), "/").text()).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn the_hosts_file_is_read() {
    let origin = Origin::saying("fine");
    let server = Setup::new(Kind::Moongate).with("OPORT", origin.port).start(
        "http { upstream pool { server localhost:$OPORT; }\n\
         server { listen 127.0.0.1:$PORT; location / { proxy_pass http://pool; } } }",
    );
    assert_eq!(get(server.port(), "/").text(), "fine");
}
