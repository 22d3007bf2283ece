//! `moongate explain`, and the same record on a live request.

use crate::harness::client::{get, request};
use crate::harness::origin::Origin;
use crate::harness::server::{Kind, Setup, binary};
use std::path::Path;
use std::process::{Command, Output};

const SECRET: &str = "0123456789abcdef";

const CONF: &str = "http { access_log logs/access.log; explain_secret_file secret;\n\
     upstream one { server $STABLE; server 127.0.0.1:9 down; }\n\
     upstream two { server $CANARY; }\n\
     rollout api { stable one; canary two version=v2;\n\
     header X-Canary-Version;\n\
     when $http_user_agent ~* \"iphone\" canary;\n\
     sticky $http_x_user; weight 50%; trust 10.0.0.0/8; }\n\
     server { listen 127.0.0.1:$PORT; server_name a.example;\n\
     location / { access_by_lua_block { if ngx.var.arg_no then ngx.exit(403) end }\n\
     proxy_pass http://$rollout_api; }\n\
     location /script { set $to one; access_by_lua_block {\n\
     ngx.var.to = 'two' }\n\
     proxy_pass http://$to; }\n\
     location /asks { access_by_lua_block {\n\
     local socket = ngx.socket.tcp()\n\
     local ok, why = socket:connect('127.0.0.1', $DATABASE)\n\
     ngx.req.set_header('X-Why', why)\n\
     local udp = ngx.socket.udp()\n\
     udp:setpeername('127.0.0.1', $DATABASE)\n\
     socket:connect('name.example', 80)\n\
     local user = ngx.req.get_headers()['X-User']\n\
     if ngx.req.get_headers()['X-Team'] then ngx.exit(403) end }\n\
     proxy_pass http://$http_x_why; }\n\
     location /said { content_by_lua_block { ngx.say('x') } } } }";

fn setup(stable: &Origin, canary: &Origin) -> Setup {
    Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .with("DATABASE", 9)
        .file("conf/secret", SECRET)
}

fn explain(setup: &Setup, conf: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["explain", "-p"]).arg(setup.prefix()).arg("-c").arg(conf).args(arguments);
    command.output().expect("it runs")
}

/// What `moongate explain` says of a request with these arguments.
fn explained(arguments: &[&str]) -> String {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let mut setup = setup(&stable, &canary);
    let conf = setup.conf(CONF);
    let output = explain(&setup, &conf, arguments);
    assert_eq!(stable.connections() + canary.connections(), 0, "no upstream is asked");
    let text = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(!setup.prefix().join("rollouts/api.journal").exists());
    let name = |text: String, origin: &Origin, name| {
        text.replace(&format!("127.0.0.1:{}", origin.port), name)
    };
    let text = name(name(text, &stable, "STABLE"), &canary, "CANARY");
    text.replace(&format!("{}/conf/", setup.prefix().display()), "")
}

#[test]
fn a_bucket_decides_and_the_others_are_accounted_for() {
    assert_eq!(
        explained(&["-H", "X-User: alice", "/x?y=1"]),
        "request   GET /x?y=1 HTTP/1.1\n\
         server    a.example\n\
         location  /\n\
         script    access_by_lua(moongate.conf:9): went on\n\
         read      $arg_no is not set\n\
         read      $http_x_canary_version is not set\n\
         read      $http_user_agent is not set\n\
         read      $http_x_user = \"alice\"\n\
         rollout   api\n\
         \x20         header X-Canary-Version (moongate.conf:5): not sent\n\
         \x20         when $http_user_agent ~* \"iphone\" canary (moongate.conf:6): does not hold\n\
         \x20         sticky $http_x_user (moongate.conf:7): \"alice\"\n\
         \x20         bucket 6425\n\
         \x20         stable, for weight\n\
         \x20         not v2: bucket 6425 is none of its 50%\n\
         variant   stable\n\
         upstream  one, by weight\n\
         peer      STABLE\n\
         \x20         not 127.0.0.1:9: down\n"
    );
}

#[test]
fn what_a_client_asks_for_is_told_with_whether_it_may() {
    let asks = ["-H", "X-Canary-Version: v2", "/"];
    let text = explained(&[&["--from", "10.1.2.3"], &asks[..]].concat());
    assert!(text.contains("\"v2\" asks for v2\n"), "{text}");
    assert!(text.contains("upstream  two, by header\npeer      CANARY\n"), "{text}");
    let text = explained(&asks);
    assert!(text.contains("\"v2\", from nobody who may choose\n"), "{text}");
    assert!(text.contains("upstream  one, by no_key\n"), "{text}");
    let text = explained(&["-H", "User-Agent: iPhone", "/"]);
    assert!(text.contains("canary (moongate.conf:6): holds\n"), "{text}");
    assert!(text.contains("v2, for rule\n"), "{text}");
}

#[test]
fn a_script_s_line_is_told_and_what_answers_without_an_upstream() {
    let text = explained(&["/script"]);
    let line = "upstream  two, by access_by_lua(moongate.conf:11):2\npeer      CANARY\n";
    assert!(text.contains(line), "{text}");
    let text = explained(&["-d", "body", "/?no=1"]);
    assert!(text.starts_with("request   POST /?no=1 HTTP/1.1\n"), "{text}");
    assert!(text.contains("script    access_by_lua(moongate.conf:9): exit 403\n"), "{text}");
    assert!(text.ends_with("answer    status 403\n"), "{text}");
    let text = explained(&["--json", "/said"]);
    assert!(text.contains("\"answer\": \"content_by_lua(moongate.conf:24)\""), "{text}");
}

#[test]
fn a_live_request_with_the_secret_is_told_the_same() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let server = setup(&stable, &canary).start(CONF);
    let asking = |secret: &str| {
        let fields = format!("X-User: alice\r\nX-Moongate-Explain: {secret}\r\n");
        let answer = request(server.port(), "GET", "/x", &fields);
        assert_eq!(answer.text(), "stable");
        answer.header("x-moongate-decision").map(str::to_owned)
    };
    let told = asking(SECRET).expect("it is told");
    let peer = format!("\"peers\":[\"127.0.0.1:{}\"]", stable.port);
    for part in ["\"bucket\":6425", "\"version\":\"stable\"", "\"reason\":\"weight\"", &peer] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains(SECRET), "{told}");
    assert_eq!(asking("0123456789abcdeF"), None);
    assert_eq!(asking(""), None);
    assert_eq!(get(server.port(), "/x").header("x-moongate-decision"), None);
    for received in stable.received() {
        assert_eq!(received.header("x-moongate-explain"), None, "nobody behind sees it");
    }
}

#[test]
fn scripts_contact_nobody_and_what_they_read_of_the_fields_is_told() {
    let database = Origin::saying("a database");
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let mut setup = setup(&stable, &canary).with("DATABASE", database.port);
    let conf = setup.conf(CONF);
    let output = explain(&setup, &conf, &["-H", "X-User: alice", "/asks"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(database.connections(), 0, "{text}");
    for contact in ["tcp 127.0.0.1:DATABASE", "udp 127.0.0.1:DATABASE", "tcp name.example:80"] {
        let contact = contact.replace("DATABASE", &database.port.to_string());
        let line = format!("not asked {contact}: the script was told that it failed\n");
        assert!(text.contains(&line), "{text}");
    }
    for read in ["$http_x_user = \"alice\"\n", "$http_x_team is not set\n"] {
        assert!(text.contains(&format!("read      {read}")), "{text}");
    }
    let why = "$http_x_why = \"nobody is contacted while a request is explained\"\n";
    assert!(text.contains(why), "{text}");
}
