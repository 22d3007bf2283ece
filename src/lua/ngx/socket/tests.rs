//! Cosockets against a peer of the test, within one thread.

use crate::lua::fixture::block_on;
use crate::lua::fixture::global;
use crate::lua::fixture::run;
use crate::lua::fixture::vm;
use std::time::Duration;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// Serves a connection: a line `+text` is answered with the text (`\n` and `\r` written out), `.`
/// with the end, `~` with nothing for ten seconds.
async fn serve(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
        let word = line.trim_end_matches('\n').to_owned();
        line.clear();
        match word.split_at_checked(1) {
            Some(("+", text)) => {
                let text = text.replace("\\n", "\n").replace("\\r", "\r");
                let _ = stream.write_all(text.as_bytes()).await;
            }
            Some(("~", _)) => tokio::time::sleep(Duration::from_secs(10)).await,
            _ => return,
        }
    }
}

/// What `code` says with `say(…)`: `tcp()` is a new socket, `open()` one with a peer.
fn said(code: &str) -> String {
    let vm = vm();
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream));
            }
        });
        let code = format!(
            "local t = {{}} rawset(_G, 'T', t) local function say(...)
               for i = 1, select('#', ...) do t[#t + 1] = tostring((select(i, ...))) end end
             local port, tcp = {port}, ngx.socket.tcp
             local function open(...) local s = tcp() assert(s:connect('127.0.0.1', port, ...))
               return s end\n{code}"
        );
        let ended = run(&vm, &code).await;
        let text = global(&vm, "table.concat(T, ' ')").replace('\n', "\\n").replace('\r', "\\r");
        match ended {
            Ok(_) => text,
            Err(failure) => format!("{text} ERROR {failure}"),
        }
    })
}

fn check(cases: &[(&str, &str)]) {
    for (code, expected) in cases {
        assert_eq!(said(code), *expected, "{code}");
    }
}

#[test]
fn what_comes_is_read_in_every_way() {
    check(&[
        ("local s = open() say(s:send('+one\\\\r\\\\ntwo\\\\n\\n'))
          say(s:receive()) say(s:receive('*l'))",
         "14 one two"),
        ("local s = open() s:send('+abcdef\\n') say(s:receive(4)) say(s:receive('2'))", "abcd ef"),
        (
            "local s = open() s:send('+abc\\n.\\n') say(s:receive('*a')) say(s:receive('*a'))",
            "abc ",
        ),
        ("local s = open() s:send('+abc\\n') say(s:receiveany(2)) say(s:receiveany(99))", "ab c"),
        ("local s = open() say(s:receive(0))", ""),
        // Errors come with what was read before them.
        ("local s = open() s:send('+abc\\n.\\n') say(s:receive()) say(s:receive())",
         "nil closed abc nil closed"),
        ("local s = open() s:settimeout(50) s:send('+abc\\n') say(s:receive(9)) s:send('+def\\n')
          say(s:receive(3))", "nil timeout abc def"),
        ("local s = open() s:send('.\\n') say(s:receiveany(9))", "nil closed "),
    ]);
}

#[test]
fn bytes_are_read_up_to_a_pattern() {
    check(&[
        ("local s = open() s:send('+ab--cd--\\n') local it = s:receiveuntil('--')
          say(it()) say(it())", "ab cd"),
        ("local s = open() s:send('+ab--cd\\n') local it = s:receiveuntil('--', {inclusive = true})
          say(it()) say(s:receive(2))", "ab-- cd"),
        ("local s = open() s:send('+abcdef--x\\n') local it = s:receiveuntil('--')
          for i = 1, 4 do say(it(4)) end", "abcd ef nil nil nil nil timeout x"),
        ("local s = open() s:send('+abc-\\n.\\n') local it = s:receiveuntil('--')
          say(it()) say(it())", "nil closed abc nil closed"),
        ("say(open():receiveuntil(''))", "nil pattern is empty"),
        ("local it = open():receiveuntil('x') say(pcall(it, 1, 2))",
         "false expecting 0 or 1 arguments, but seen 2"),
        ("say(pcall(function() open():receiveuntil('x', { inclusive = 1 }) end))",
         "false content_by_lua(nginx.conf:1):6: bad \"inclusive\" option value type: number"),
    ]);
}

#[test]
fn anything_like_text_is_sent() {
    check(&[
        (
            "local s = open() say(s:send({'+a', 1, {2.5, {'x'}}, '\\n'})) say(s:receive(6))",
            "8 a12.5x",
        ),
        ("local s = open() say(s:send('')) say(s:send({}))", "0 0"),
        ("local s = open() say(s:send(nil), s:send(true))", "3 4"),
        (
            "say(pcall(function() open():send({ a = 1 }) end))",
            "false content_by_lua(nginx.conf:1):6: bad argument #1 to 'send' \
             (non-array table found)",
        ),
        (
            "say(pcall(function() open():send({ 1, true }) end))",
            "false content_by_lua(nginx.conf:1):6: bad argument #1 to 'send' (bad data type \
             boolean \
          found)",
        ),
        (
            "say(pcall(function() open():send(print) end))",
            "false content_by_lua(nginx.conf:1):6: bad argument #1 to 'send' (string, \
             number, boolean, \
          nil, or array table expected, got function)",
        ),
        // More than the system takes at once: the peer reads it in its own time.
        (
            "local s = open() local big = string.rep('x', 8e6)
          local t = ngx.thread.spawn(function() return s:send('+' .. big .. '\\n') end)
          say(#assert(s:receive(8e6))) say(ngx.thread.wait(t))",
            "8000000 true 8000002",
        ),
    ]);
}

#[test]
fn connections_are_kept_and_used_again() {
    check(&[
        (
            "local s = open() say(s:getreusedtimes(), s:setkeepalive()) say(s:send('x'))
             say(s:connect('127.0.0.1', port), s:getreusedtimes()) s:setkeepalive()
             say(s:connect('127.0.0.1', port), s:getreusedtimes())",
            "0 1 nil closed 1 1 1 2",
        ),
        (
            "local s = open() s:send('+abc\\n') s:receive(1) say(s:setkeepalive())",
            "nil unread data in buffer",
        ),
        ("local s = open() s:send('.\\n') ngx.sleep(0.1) say(s:setkeepalive())", "nil closed"),
        (
            "local s = open() s:send('+abc\\n') ngx.sleep(0.1) say(s:setkeepalive())",
            "nil connection in dubious state",
        ),
        // By name, and not by another name.
        (
            "local a = open({ pool = 'mine' }) a:setkeepalive() local b = open()
             say(b:getreusedtimes()) local c = open({ pool = 'mine' }) say(c:getreusedtimes())",
            "0 1",
        ),
        // One whose time is up is gone.
        ("open():setkeepalive(100) ngx.sleep(0.3) say(open():getreusedtimes())", "0"),
        (
            "local s = open() s:setkeepalive(0, 1) local t, u = open(), open() t:setkeepalive()
          u:setkeepalive() say(open():getreusedtimes(), open():getreusedtimes())",
            "1 0",
        ),
    ]);
}

#[test]
fn a_backlog_makes_connects_wait() {
    check(&[
        (
            "local o = { pool_size = 1, backlog = 1, pool = 'p' } local a = open(o)
             local function go(ms) local s = tcp() s:settimeouts(ms, 0, 0)
               local ok, err = s:connect('127.0.0.1', port, o)
               if ok then say(s:getreusedtimes()) end return ok, err end
             local t = ngx.thread.spawn(go, 1000) say(go(1000)) a:setkeepalive()
             say(ngx.thread.wait(t))",
            "nil too many waiting connect operations 1 true 1 nil",
        ),
        (
            "local o = { pool_size = 1, backlog = 1, pool = 'p' } local a = open(o)
             local s = tcp() s:settimeout(50) say(s:connect('127.0.0.1', port, o)) a:close()
             say(s:connect('127.0.0.1', port, o))",
            "nil timeout 1",
        ),
        (
            "say(pcall(function() tcp():connect('x', 1, { pool_size = 0 }) end))",
            "false content_by_lua(nginx.conf:1):6: bad argument #3 to 'connect' (bad \"pool_size\" \
          option value: 0)",
        ),
        (
            "say(pcall(function() tcp():connect('x', 1, { backlog = -1 }) end))",
            "false content_by_lua(nginx.conf:1):6: bad argument #3 to 'connect' (bad \"backlog\" \
          option value: -1)",
        ),
        (
            "say(pcall(function() tcp():connect('x', 1, { pool = {} }) end))",
            "false content_by_lua(nginx.conf:1):6: bad argument #3 to 'connect' (bad \
             \"pool\" option \
          type: table)",
        ),
    ]);
}

#[test]
fn connects_fail_in_words() {
    check(&[
        ("say(tcp():connect('127.0.0.1', 1))", "nil connection refused"),
        ("say(tcp():connect('unix:/nowhere/x.sock'))", "nil no such file or directory"),
        ("say(tcp():connect('127.0.0.1'))", "nil missing the port number"),
        ("say(tcp():connect('127.0.0.1', 70000))", "nil bad port number: 70000"),
        (
            "say(tcp():connect('example.org', 80))",
            "nil no resolver defined to resolve \"example.org\"",
        ),
        ("say(ngx.socket.connect('127.0.0.1', 1))", "nil connection refused"),
        ("say(pcall(tcp, 1))", "false expecting zero arguments, but got 1"),
        (
            "say(pcall(tcp().connect, tcp()))",
            "false ngx.socket connect: expecting 2, 3, or 4 arguments (including the object), but \
          seen 1",
        ),
    ]);
}

#[test]
fn a_closed_socket_says_so_and_a_busy_one_too() {
    check(&[
        (
            "local s = tcp() say(s:send('x')) say(s:receive()) say(s:close())
             say(s:setkeepalive())",
            "nil closed nil closed nil closed nil closed",
        ),
        (
            "local s = open() say(s:close()) say(s:close()) say(s:getreusedtimes())",
            "1 nil closed nil closed",
        ),
        (
            "local s = open() local t = ngx.thread.spawn(function() return s:receive() end)
             say(s:receive()) say(s:close()) say(s:connect('127.0.0.1', port)) say(s:setkeepalive())
             s:send('+x\\\\n\\n') say(ngx.thread.wait(t))",
            "nil socket busy reading nil socket busy reading nil socket busy reading nil socket \
             busy reading true x",
        ),
        // A thread that is killed while it waits closes what it waits for.
        (
            "local s = open() local t = ngx.thread.spawn(function() return s:receive() end)
             ngx.thread.kill(t) say(s:send('x'))",
            "nil closed",
        ),
        (
            "say(pcall(function() tcp():settimeout(-1) end))",
            "false content_by_lua(nginx.conf:1):6: bad timeout value",
        ),
        (
            "say(pcall(function() tcp():setoption('keepalive', true) end))",
            "false content_by_lua(nginx.conf:1):6: socket is never created nor connected",
        ),
        (
            "local s = open() say(s:setoption('tcp-nodelay', 0), s:getoption('tcp-nodelay'),
          s:setoption('keepalive', true), s:getoption('keepalive')) say(s:setoption('x', 1))
          say(s:setoption('keepalive'))",
            "true 0 true 1 nil unsupported option x nil missing the \"value\" argument",
        ),
    ]);
}

#[test]
fn datagrams_go_both_ways() {
    let vm = vm();
    let text = block_on(async {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            let mut room = [0; 99];
            while let Ok((count, from)) = socket.recv_from(&mut room).await {
                if room[0] != b'-' {
                    socket.send_to(&room[..count], from).await.unwrap();
                }
            }
        });
        let code = format!(
            "local s = ngx.socket.udp() local out = {{}}
             local function say(...) for i = 1, select('#', ...) do
               out[#out + 1] = tostring((select(i, ...))) end end
             say(s:send('x')) say(s:setpeername('127.0.0.1', {port}))
             say(s:send({{'he', 'llo'}})) say(s:receive()) s:send('hello') say(s:receive(2))
             s:settimeout(50) s:send('-') say(s:receive()) say(s:close()) say(s:receive())
             say(s:setpeername('example.org', 53)) rawset(_G, 'OUT', table.concat(out, ' '))"
        );
        run(&vm, &code).await.unwrap();
        global(&vm, "OUT")
    });
    assert_eq!(
        text,
        "nil closed 1 1 hello he nil timeout 1 nil closed nil no resolver defined to resolve \
         \"example.org\""
    );
}

#[test]
fn they_belong_to_phases_that_wait() {
    for make in ["tcp", "udp", "stream"] {
        let text = global(&vm(), &format!("select(2, pcall(ngx.socket.{make}))"));
        assert_eq!(text, "API disabled in the context of set_by_lua*");
    }
}
