//! Programs that scripts start: they end with their requests and with the server, and worry nobody.

use crate::harness::client::{Client, get};
use crate::harness::eventually;
use crate::harness::server::gateway;
use std::fs;

const CHILDREN: &str = "worker_processes 2; env PATH;
    http { server { listen 127.0.0.1:$PORT; lua_check_client_abort on;
    location = /forgotten {
        content_by_lua_block { ngx.print(require('ngx.pipe').spawn({ 'sleep', '1000' }):pid()) }
    }
    location = /left {
        content_by_lua_block {
            local p = require('ngx.pipe').spawn({ 'sleep', '1000' }, { wait_timeout = 0 })
            ngx.log(ngx.ERR, 'left with ', p:pid(), '.')
            p:wait()
        }
    }
    location = /kept {
        content_by_lua_block {
            local pid
            ngx.timer.at(0, function()
                local p = require('ngx.pipe').spawn({ 'sleep', '1000' }, { wait_timeout = 0 })
                pid = p:pid()
                p:wait()
            end)
            repeat ngx.sleep(0.001) until pid
            ngx.print(pid)
        }
    }
    location = /many {
        content_by_lua_block {
            local spawn, threads = require('ngx.pipe').spawn, {}
            for i = 1, 40 do
                threads[i] = ngx.thread.spawn(function()
                    local p = spawn('read x; echo $x$$; exit ' .. i)
                    p:write(i .. '-\\n')
                    local said = p:stdout_read_line()
                    local ok, why, status = p:wait()
                    assert(said == i .. '-' .. p:pid() and not ok and why == 'exit')
                    return status
                end)
            end
            local sum = 0
            for i = 1, 40 do sum = sum + select(2, ngx.thread.wait(threads[i])) end
            local f = io.popen('echo popen')
            ngx.print(sum, ' ', f:read(), ' ', f:close())
        }
    }
} }";

/// Whether a process runs: one that ended and that nobody has asked about yet does not.
fn is_there(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let (_, state) = stat.rsplit_once(") ").expect("a state behind the name");
    !state.starts_with(['Z', 'X'])
}

fn is_gone(pid: &str) {
    eventually("the child is gone", || (!is_there(pid)).then_some(()));
}

#[test]
fn a_child_ends_with_its_request() {
    let server = gateway(CHILDREN);
    is_gone(&get(server.port(), "/forgotten").text());
    let mut client = Client::connect(server.port()).unwrap();
    client.send("GET /left HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let pid = eventually("a child", || {
        let log = server.error_log();
        let (_, rest) = log.split_once("left with ")?;
        Some(rest.split_once('.')?.0.to_owned())
    });
    assert!(is_there(&pid));
    drop(client);
    is_gone(&pid);
}

#[test]
fn a_child_ends_with_the_server() {
    let server = gateway(CHILDREN);
    let pid = get(server.port(), "/kept").text();
    assert!(is_there(&pid));
    server.quit();
    is_gone(&pid);
}

#[test]
fn many_children_come_and_go() {
    let server = gateway(CHILDREN);
    assert_eq!(get(server.port(), "/many").text(), "820 popen true");
    eventually("no zombie", || {
        let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).ok()?;
        let children = |it: fs::DirEntry| fs::read_to_string(it.path().join("children"));
        let all: String = threads.flatten().filter_map(|it| children(it).ok()).collect();
        all.trim().is_empty().then_some(())
    });
}
