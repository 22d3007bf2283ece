//! Clients that leave while a script is at work.

use crate::harness::client::Client;
use crate::harness::eventually;
use crate::harness::server::{Server, gateway};

fn leave(server: &Server, target: &str) {
    let mut client = Client::connect(server.port()).expect("it listens");
    client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).expect("it reads");
    // Gone before the script's first nap is over.
    drop(client);
}

fn logs(server: &Server, what: &str) {
    eventually(what, || server.error_log().contains(what).then_some(()));
}

const HANDLERS: &str = "http { log_format case '$uri $status'; access_log logs/case.log case;
    server { listen 127.0.0.1:$PORT;
    location = /on {
        content_by_lua_block { ngx.sleep(3600) }
        lua_check_client_abort on;
        log_by_lua_block { ngx.log(ngx.ERR, 'logged with ', ngx.status) }
    }
    location = /callback {
        lua_check_client_abort on;
        content_by_lua_block {
            ngx.on_abort(function() ngx.log(ngx.ERR, 'it left') ngx.sleep(0.01) ngx.exit(499) end)
            ngx.sleep(3600)
        }
        log_by_lua_block { ngx.log(ngx.ERR, 'callback ended with ', ngx.status) }
    }
    location = /stays {
        lua_check_client_abort on;
        content_by_lua_block {
            ngx.on_abort(function() ngx.ctx.left = true end)
            while not ngx.ctx.left do ngx.sleep(0.01) end
            ngx.log(ngx.ERR, 'the handler went on')
        }
    }
    location = /off {
        content_by_lua_block {
            for i = 1, 20 do ngx.say(('x'):rep(100000)) ngx.flush(true) ngx.sleep(0.005) end
            ngx.log(ngx.ERR, 'to its end: ', select(2, ngx.flush(true)))
        }
    }
    location = /within {
        lua_check_client_abort on;
        content_by_lua_block { ngx.location.capture('/nap') }
        log_by_lua_block { ngx.log(ngx.ERR, 'a subrequest was given up: ', ngx.status) }
    }
    location = /nap { content_by_lua_block { ngx.sleep(3600) } }
} }";

#[test]
fn a_client_that_leaves_ends_the_handler_where_that_is_asked_for() {
    let server = gateway(HANDLERS);
    leave(&server, "/on");
    logs(&server, "logged with 499");
    leave(&server, "/within");
    logs(&server, "a subrequest was given up: 499");
}

#[test]
fn on_abort_runs_beside_the_handler() {
    let server = gateway(HANDLERS);
    leave(&server, "/callback");
    logs(&server, "it left");
    logs(&server, "callback ended with 499");
    leave(&server, "/stays");
    logs(&server, "the handler went on");
}

#[test]
fn without_it_the_handler_goes_on_unheard() {
    let server = gateway(HANDLERS);
    leave(&server, "/off");
    logs(&server, "to its end: client aborted");
}
