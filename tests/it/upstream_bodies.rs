//! Bodies through the gateway, whole in either direction and of any framing, and what of them it
//! keeps in memory.

use crate::harness::client::{Client, get};
use crate::harness::head::latin1;
use crate::harness::origin::{Answer, Origin};
use crate::harness::raw_origin::{RawOrigin, read_head};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::{eventually, settles};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const SIZES: [usize; 5] = [0, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 10 * MIB];

fn proxied(port: u16, settings: &str, locations: &str) -> Server {
    let setup = Setup::new(Kind::Moongate).small_pages();
    setup.with("ORIGIN", format!("127.0.0.1:{port}")).start(&format!(
        "http {{ upstream pool {{ server $ORIGIN max_fails=0; keepalive 8; }}\n\
         log_format s '$status $upstream_status $upstream_bytes_sent'; access_log logs/access.log s;\n\
         server {{ listen 127.0.0.1:$PORT; client_max_body_size 50m;\n\
         proxy_http_version 1.1; proxy_set_header Connection ''; {settings}\n\
         location / {{ proxy_pass http://pool; }} {locations} }} }}"
    ))
}

/// Bytes that tell where they stand.
fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 251 + at) as u8).collect()
}

/// A POST with its body framed one way or the other.
fn post(client: &mut Client, uri: &str, body: &[u8], chunked: bool) -> Vec<u8> {
    let fields = match chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", body.len()),
    };
    let mut bytes = format!("POST {uri} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n").into_bytes();
    match chunked {
        false => bytes.extend_from_slice(body),
        true => {
            for piece in body.chunks(30_000) {
                bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
    }
    client.send(bytes).expect("it reads");
    let answer = client.response("POST").expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.body
}

#[test]
fn bodies_of_all_sizes_go_there_and_back_whole() {
    let origin = Origin::start(|request| {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        if request.header("x-chunked").is_some() {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in request.body.chunks(20_000) {
                bytes.extend_from_slice(format!("{:x};x=y\r\n", piece.len()).as_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\nX-Trailer: x\r\n\r\n");
        } else {
            let length = format!("Content-Length: {}\r\n\r\n", request.body.len());
            bytes.extend_from_slice(length.as_bytes());
            bytes.extend_from_slice(&request.body);
        }
        Answer::bytes(bytes)
    });
    let locations = "location /chunked { proxy_pass http://pool; proxy_set_header X-Chunked 1;\n\
         proxy_set_header Connection ''; }\n\
         location /read { access_by_lua_block { ngx.req.read_body() } proxy_pass http://pool; }\n\
         location /set { access_by_lua_block { ngx.req.read_body()\n\
         local it = ngx.req.get_body_data()\n\
         if not it then local name = ngx.req.get_body_file()\n\
         it = '' if name then local f = io.open(name, 'rb') it = f:read('*a') f:close() end end\n\
         ngx.req.set_body_data(it) } proxy_pass http://pool; }\n\
         location /streamed { proxy_request_buffering off; proxy_pass http://pool; }\n\
         location /unbuffered { proxy_buffering off; proxy_pass http://pool; }";
    let server = proxied(origin.port, "", locations);
    let mut client = Client::connect(server.port()).expect("it listens");
    for size in SIZES {
        let body = body(size);
        for uri in ["/", "/chunked", "/read", "/set", "/streamed", "/unbuffered"] {
            for chunked in [false, true] {
                let back = post(&mut client, uri, &body, chunked);
                assert!(back == body, "{uri} {size} {chunked}: {} bytes came back", back.len());
            }
        }
    }
    assert_eq!(origin.connections(), 1, "the connection was kept all the time");
}

/// Reads a request's head and then echoes so many bytes as they come.
fn echo(stream: &mut TcpStream) {
    let Some(head) = read_head(stream) else { return };
    let length = head.lines().find_map(|it| it.strip_prefix("Content-Length: "));
    let mut left: usize = length.and_then(|it| it.parse().ok()).expect("a length");
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n").expect("it is read");
    let mut buffer = [0; 4096];
    while left > 0 {
        let count = stream.read(&mut buffer).expect("it is sent");
        assert!(count > 0, "it is sent whole");
        // Blocks once nobody reads, and reads no more then.
        stream.write_all(&buffer[..count]).expect("it is read");
        left -= count;
    }
    // Another request would be answered too.
    echo(stream);
}

#[test]
fn an_echo_of_megabytes_does_not_stall() {
    let origin = RawOrigin::start(|_, stream| echo(stream));
    let locations = "location /file { client_body_buffer_size 8k; proxy_pass http://pool; }\n\
                     location /off { proxy_buffering off; proxy_pass http://pool; }";
    let settings = "client_body_buffer_size 20m;";
    let server = proxied(origin.port, settings, locations);
    let mut client = Client::connect(server.port()).expect("it listens");
    let sent = body(10 * MIB);
    for uri in ["/", "/file", "/off"] {
        assert!(post(&mut client, uri, &sent, false) == sent, "{uri}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_echo_reaches_a_client_that_is_still_sending() {
    let origin = RawOrigin::start(|_, stream| echo(stream));
    let server = proxied(origin.port, "proxy_request_buffering off;", "");
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    let sent = body(10 * MIB);
    write!(stream, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", sent.len())
        .expect("it reads");
    stream.write_all(&sent[..1000]).expect("it reads");
    let mut reader = stream.try_clone().expect("a socket");
    let head = read_head(&mut reader).expect("the head comes before the body is whole");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let mut back = vec![0; sent.len()];
    reader.read_exact(&mut back[..1000]).expect("so does what was sent");
    let rest = sent[1000..].to_vec();
    let writer = thread::spawn(move || stream.write_all(&rest).map(|()| stream));
    reader.read_exact(&mut back[1000..]).expect("the rest");
    assert!(back == sent);
    drop(writer.join().expect("it ends").expect("it was read"));
}

#[test]
fn a_streamed_body_is_sent_once_and_ends_with_its_client() {
    let bytes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&bytes);
    let origin = RawOrigin::start(move |_, stream| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            seen.fetch_add(count, Ordering::SeqCst);
        }
    });
    let server = proxied(origin.port, "proxy_request_buffering off;", "");
    let mut client = Client::connect(server.port()).expect("it listens");
    client
        .send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        .and_then(|()| client.send(vec![b'a'; 50_000]))
        .expect("it reads");
    eventually("what was sent is passed on", || {
        (bytes.load(Ordering::SeqCst) > 50_000).then_some(())
    });
    drop(client);
    settles("it is a bad request", true, || server.read("logs/access.log").starts_with("400 "));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_client_that_leaves_is_missed_though_nobody_reads_its_body() {
    let (go, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let origin = RawOrigin::start(move |_, stream| {
        read_head(stream);
        // Reads nothing until the test is over.
        let _ = told.lock().expect("nobody panics").recv();
    });
    let server = proxied(origin.port, "proxy_request_buffering off; proxy_send_timeout 60s;", "");
    let fill = |most: usize| {
        let mut client = Client::connect(server.port()).expect("it listens");
        let socket = socket2::SockRef::from(&*client.stream());
        socket.set_send_buffer_size(64 << 10).expect("a socket");
        socket.set_write_timeout(Some(Duration::from_secs(2))).expect("a socket");
        let head = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 52000000\r\n\r\n";
        client.send(head).expect("it reads");
        let mut held = 0;
        while held < most && client.send(vec![b'a'; 16 << 10]).is_ok() {
            held += 16 << 10;
        }
        held
    };
    // What the kernel holds on the way is not the same each time. Behind a little less than that
    // the end of a client gets through; behind much less its body is read, and that is a 400.
    let held = fill(usize::MAX);
    for spare in [300 << 10, 450 << 10, 600 << 10, 900 << 10] {
        fill(held.saturating_sub(spare));
    }
    let began = Instant::now();
    settles("it is logged", true, || {
        server.read("logs/access.log").lines().any(|it| it.starts_with("499 "))
    });
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    drop(go);
}

#[test]
fn a_streamed_body_has_its_limit() {
    let origin = RawOrigin::start(|_, stream| {
        read_head(stream);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let server = proxied(
        origin.port,
        "proxy_request_buffering off;",
        "location /small { client_max_body_size 100k; proxy_pass http://pool; }",
    );
    let mut client = Client::connect(server.port()).expect("it listens");
    client
        .send("PUT /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .and_then(|()| client.send(format!("{:x}\r\n", 200_000)))
        .and_then(|()| client.send(vec![b'a'; 200_000]))
        .expect("it reads");
    assert_eq!(client.response("PUT").map(|it| it.status()).ok(), Some(413));
}

#[test]
fn an_upload_that_is_refused_early_gets_its_answer() {
    for ends in ["open", "closed", "reset"] {
        let origin = RawOrigin::start(move |_, stream| {
            read_head(stream);
            let text = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
            stream.write_all(text.as_bytes()).expect("it is read");
            sleep(Duration::from_millis(100));
            match ends {
                // Until the gateway gives the connection up.
                "open" => drop(stream.read_to_end(&mut Vec::new())),
                "closed" => {}
                _ => crate::harness::raw_origin::reset(stream),
            }
        });
        let server = proxied(origin.port, "client_body_buffer_size 20m;", "");
        let mut client = Client::connect(server.port()).expect("it listens");
        let size = 10 * MIB;
        client
            .send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"))
            .and_then(|()| client.send(body(size)))
            .expect("it reads");
        let answer = client.response("POST").map(|it| (it.status(), it.text()));
        assert_eq!(answer.ok(), Some((413, "no".to_owned())), "{ends}");
    }
}

/// Resident memory of a process that is no file, bytes: pages of its program come as they are run.
fn resident(pid: u32) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find_map(|it| it.strip_prefix("RssAnon:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

#[test]
fn large_bodies_take_little_memory() {
    let origin = RawOrigin::start(|_, stream| {
        let head = read_head(stream).unwrap_or_default();
        let size = if head.contains("/warm") { MIB } else { 100 * MIB };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").expect("it is read");
        for _ in 0..size / 65_536 {
            if stream.write_all(&[b'x'; 65_536]).is_err() {
                return;
            }
        }
    });
    let server = proxied(origin.port, "proxy_request_buffering off;", "");
    for _ in 0..3 {
        assert_eq!(get(server.port(), "/warm").body.len(), MIB);
    }
    let before = resident(server.pid());
    // Slow readers: the gateway may hold proxy_buffers of each, and what its sockets hold.
    let mut clients: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
            write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
            read_head(&mut stream).expect("a head");
            stream
        })
        .collect();
    sleep(Duration::from_millis(500));
    let held = resident(server.pid()).saturating_sub(before);
    assert!(held < 8 * MIB, "{held} bytes for 20 readers");
    let mut buffer = vec![0; 65_536];
    let mut left = 100 * MIB;
    while left > 0 {
        let count = clients[0].read(&mut buffer).expect("it goes on");
        assert!(count > 0, "{left} bytes are missing");
        left -= count;
    }
    let held = resident(server.pid()).saturating_sub(before);
    assert!(held < 8 * MIB, "{held} bytes behind a body of 100 MiB");
}

#[test]
fn an_upload_through_memory_and_file_takes_little_memory() {
    let origin = RawOrigin::start(|_, stream| {
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if buffer[..count].ends_with(b"END") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    let locations = "location /off { proxy_request_buffering off; proxy_pass http://pool; }";
    let server = proxied(origin.port, "", locations);
    let mut sent = vec![b'a'; 40 * MIB];
    sent.extend_from_slice(b"END");
    let mut client = Client::connect(server.port()).expect("it listens");
    assert_eq!(latin1(&post(&mut client, "/", &sent[40 * MIB..], false)), "ok");
    let before = resident(server.pid());
    for uri in ["/", "/off"] {
        assert_eq!(latin1(&post(&mut client, uri, &sent, false)), "ok");
        let held = resident(server.pid()).saturating_sub(before);
        assert!(held < 10 * MIB, "{uri}: {held} bytes");
    }
}

/// An origin that says a body at once and notes when it could have sent it all.
fn saying(size: usize, done: &Arc<AtomicUsize>) -> RawOrigin {
    let done = Arc::clone(done);
    RawOrigin::start(move |_, stream| {
        // Little room between the two, so that what is not taken stays here.
        socket2::SockRef::from(&*stream).set_send_buffer_size(4096).expect("it is a socket");
        while let Some(head) = read_head(stream) {
            let field = if head.contains("/no") { "X-Accel-Buffering: no\r\n" } else { "" };
            let text = format!("HTTP/1.1 200 OK\r\n{field}Content-Length: {size}\r\n\r\n");
            let bytes = [text.as_bytes(), &vec![b'x'; size]].concat();
            if stream.write_all(&bytes).is_err() {
                return;
            }
            done.fetch_add(1, Ordering::SeqCst);
        }
    })
}

#[test]
fn a_slow_client_does_not_hold_a_buffered_upstream() {
    // More than sockets hold between the gateway and its client, less than proxy_buffers.
    let size = 24 * MIB;
    let done = Arc::new(AtomicUsize::new(0));
    let origin = saying(size, &done);
    let settings = "proxy_buffers 8 4m;";
    let server = proxied(origin.port, settings, "");
    let ask = |uri: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
        write!(stream, "GET {uri} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        stream
    };
    let mut slow = ask("/");
    eventually("the upstream is done", || (done.load(Ordering::SeqCst) == 1).then_some(()));
    let mut refusing = ask("/no");
    sleep(Duration::from_millis(500));
    assert_eq!(done.load(Ordering::SeqCst), 1, "X-Accel-Buffering: no keeps it waiting");
    assert_eq!(origin.connections(), 1, "the first connection was free again");
    for stream in [&mut slow, &mut refusing] {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("it goes on");
        assert!(bytes.len() > size, "{} bytes", bytes.len());
    }
    assert_eq!(get(server.port(), "/").body.len(), size);
}
