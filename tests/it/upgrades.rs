//! Connections that switch protocols, as WebSocket's do.

use crate::harness::raw_origin::{RawOrigin, read_head};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::{eventually, settles};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n";

/// Switches, greets, and echoes until the client has said enough.
fn echoing() -> RawOrigin {
    RawOrigin::start(|_, stream| {
        let head = read_head(stream).unwrap_or_default();
        assert!(head.contains("\r\nUpgrade: echo\r\n"), "{head}");
        write!(stream, "{SWITCH}hello ").expect("it is read");
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    })
}

fn server(origin: &RawOrigin, settings: &str) -> Server {
    Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(&format!(
        "http {{ log_format s '$status $upstream_bytes_received $body_bytes_sent';\n\
         access_log logs/access.log s; server {{ listen 127.0.0.1:$PORT;\n\
         proxy_http_version 1.1; {settings}\n\
         location /plain {{ proxy_pass http://$ORIGIN; }}\n\
         location / {{ proxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection upgrade; proxy_pass http://$ORIGIN; }} }} }}"
    ))
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    stream.set_read_timeout(Some(crate::harness::PATIENCE)).expect("it is a socket");
    stream
}

fn expect(stream: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).expect("it goes on");
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

#[test]
fn both_directions_are_relayed_until_the_client_ends() {
    let origin = echoing();
    let server = server(&origin, "");
    let mut client = connect(&server);
    // The first bytes come with the request.
    write!(client, "{ASK}early ").expect("it reads");
    let head = read_head(&mut client).expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("\r\nUpgrade: echo\r\n"), "{head}");
    assert!(head.contains("\r\nConnection: upgrade\r\n"), "{head}");
    expect(&mut client, "hello early ");
    write!(client, "more").expect("it reads");
    expect(&mut client, "more");
    drop(client);
    let received = SWITCH.len() + "hello early more".len();
    settles("it is logged with its bytes", format!("101 {received} 16\n"), || {
        server.read("logs/access.log")
    });
}

#[test]
fn megabytes_are_relayed_with_back_pressure() {
    let origin = echoing();
    let server = server(&origin, "");
    let mut client = connect(&server);
    write!(client, "{ASK}").expect("it reads");
    read_head(&mut client).expect("a head");
    expect(&mut client, "hello ");
    let sent: Vec<u8> = (0..10 << 20).map(|at: usize| (at / 253 + at) as u8).collect();
    let mut writer = client.try_clone().expect("a socket");
    let copy = sent.clone();
    let writing = thread::spawn(move || writer.write_all(&copy));
    let mut back = vec![0; sent.len()];
    client.read_exact(&mut back).expect("all of it");
    writing.join().expect("it ends").expect("it was read");
    assert!(back == sent);
}

#[test]
fn an_idle_tunnel_ends_at_its_time() {
    let origin = echoing();
    let server = server(&origin, "proxy_read_timeout 300ms;");
    let mut client = connect(&server);
    write!(client, "{ASK}").expect("it reads");
    read_head(&mut client).expect("a head");
    expect(&mut client, "hello ");
    assert_eq!(client.read(&mut [0; 1]).expect("it ends"), 0);
    server.expect_logged("upstream timed out (110: Connection timed out) while proxying upgraded");
}

#[test]
fn an_upstream_that_ends_ends_the_tunnel() {
    let origin = RawOrigin::start(|_, stream| {
        read_head(stream);
        write!(stream, "{SWITCH}bye").expect("it is read");
    });
    let server = server(&origin, "");
    let mut client = connect(&server);
    write!(client, "{ASK}").expect("it reads");
    read_head(&mut client).expect("a head");
    let mut rest = String::new();
    client.read_to_string(&mut rest).expect("it ends");
    assert_eq!(rest, "bye");
}

#[test]
fn nobody_switches_unasked() {
    let origin = RawOrigin::start(|_, stream| {
        read_head(stream);
        let _ = write!(stream, "{SWITCH}hello");
        let _ = stream.read(&mut [0; 1]);
    });
    let server = server(&origin, "");
    // The client has not asked, or the gateway has not passed it on.
    for ask in [ASK.replace("Upgrade: echo\r\n", ""), ASK.replace("/chat", "/plain")] {
        let mut client = connect(&server);
        write!(client, "{ask}").expect("it reads");
        let head = read_head(&mut client).expect("a head");
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    }
}

/// A tunnel through `server` that has greeted.
fn tunnel(server: &Server) -> TcpStream {
    let mut client = connect(server);
    write!(client, "{ASK}").expect("it reads");
    read_head(&mut client).expect("a head");
    expect(&mut client, "hello ");
    client
}

fn conf(main: &str) -> String {
    format!(
        "{main} http {{ log_format s '$status $upstream_bytes_received $body_bytes_sent';\n\
         access_log logs/access.log s; server {{ listen 127.0.0.1:$PORT;\n\
         location / {{ proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection upgrade; proxy_pass http://$ORIGIN; }} }} }}"
    )
}

fn start(origin: &RawOrigin, main: &str) -> Server {
    let setup = Setup::new(Kind::Moongate).with("ORIGIN", format!("127.0.0.1:{}", origin.port));
    setup.start(&conf(main))
}

#[test]
fn a_tunnel_outlives_reloads_and_its_worker() {
    let origin = echoing();
    let mut server = start(&origin, "worker_processes 3;");
    let mut tunnels: Vec<_> = (0..6).map(|_| tunnel(&server)).collect();
    for (number, workers) in [3, 1, 2].into_iter().enumerate() {
        server.rewrite_conf(&conf(&format!("worker_processes {workers};")));
        server.signal(libc::SIGHUP);
        let served = format!("serves configuration {} with {workers}", number + 2);
        server.expect_logged(&served);
        for client in &mut tunnels {
            write!(client, "still {number}").expect("it goes on");
            expect(client, &format!("still {number}"));
        }
    }
}

#[test]
fn a_quiet_stop_waits_for_a_tunnel() {
    let origin = echoing();
    let mut server = start(&origin, "");
    let mut client = tunnel(&server);
    server.signal(libc::SIGQUIT);
    eventually("new connections are refused", || {
        TcpStream::connect(("127.0.0.1", server.port())).err()
    });
    write!(client, "more").expect("it goes on");
    expect(&mut client, "more");
    drop(client);
    assert!(server.wait().success());
    assert_eq!(server.read("logs/access.log").lines().count(), 1);
}

#[test]
fn worker_shutdown_timeout_ends_tunnels_on_both_sides_and_in_the_log() {
    let (sender, ended) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let origin = RawOrigin::start(move |_, stream| {
        read_head(stream);
        write!(stream, "{SWITCH}hello ").expect("it is read");
        let end = stream.read(&mut [0; 16]).unwrap_or(0);
        let _ = sender.lock().expect("nobody panics").send(end);
    });
    let mut server = start(&origin, "worker_shutdown_timeout 300ms;");
    let mut client = tunnel(&server);
    let began = Instant::now();
    server.signal(libc::SIGQUIT);
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(ended.recv_timeout(crate::harness::PATIENCE), Ok(0), "the peer is told");
    server.wait();
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let received = SWITCH.len() + "hello ".len();
    assert_eq!(server.read("logs/access.log"), format!("101 {received} 6\n"));
}
