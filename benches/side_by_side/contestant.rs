//! The servers that are compared: nginx, nginx with Lua, haproxy with Lua, Moongate.

use crate::harness::ports;
use crate::harness::server::{Kind, Server, Setup, with_names};
use crate::rows::Stage;
use crate::usage::family;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};
use tempfile::TempDir;

pub const NGINX: &str = "nginx";
/// The one that the others are compared with.
pub const REFERENCE: &str = "nginx + lua";
pub const HAPROXY: &str = "haproxy + lua";
pub const MOONGATE: &str = "moongate";

/// All of them, in the table's order.
pub const NAMES: [&str; 4] = [NGINX, REFERENCE, HAPROXY, MOONGATE];

const HAPROXY_PATH: &str = "/usr/sbin/haproxy";

/// A server that runs.
pub struct Contestant {
    pub name: &'static str,
    running: Running,
}

enum Running {
    Harness(Server),
    Haproxy { child: Child, ports: BTreeMap<String, u16>, _folder: TempDir },
}

/// What all of them are given.
pub struct Surroundings<'a> {
    pub origin: &'a Server,
    /// A folder with `cert.pem`, `key.pem` and `both.pem`.
    pub certificates: &'a Path,
}

impl Surroundings<'_> {
    /// The origin's address, by the name of its port.
    pub fn address(&self, port: &str) -> String {
        format!("127.0.0.1:{}", self.origin.named_port(port))
    }

    /// A server of the tests with the names that the configurations use.
    pub fn setup(&self, kind: Kind) -> Setup {
        let setup = Setup::new(kind).with("STABLE", self.address("PORT"));
        let setup = setup.with("CANARY", self.address("PORT2"));
        let setup = setup.with("STABLEH2", self.address("PORT3"));
        let setup = setup.with("CANARYH2", self.address("PORT4"));
        setup.with("CERTIFICATES", self.certificates.display())
    }

    /// Starts the one of this name on core 0.
    ///
    /// # Errors
    /// Why it does not take part.
    pub fn start(&self, name: &'static str, stage: Stage) -> Result<Contestant, String> {
        if name == HAPROXY {
            return self.haproxy(stage);
        }
        let text = match (name, stage) {
            (NGINX, Stage::Mix) => return Err("it has no Lua".into()),
            (_, Stage::Mix) => include_str!("mix.conf").to_owned(),
            (NGINX, _) => on_stage(include_str!("nginx.conf"), stage),
            _ => on_stage(include_str!("canary.conf"), stage),
        };
        let kind = if name == MOONGATE { Kind::Moongate } else { Kind::Nginx };
        let started = self.setup(kind).pinned(0).try_start(&text);
        let server = started.map_err(|exit| {
            let lines: Vec<&str> = exit.said.lines().take(2).collect();
            format!("does not start: {}", lines.join(" "))
        })?;
        Ok(Contestant { name, running: Running::Harness(server) })
    }

    fn haproxy(&self, stage: Stage) -> Result<Contestant, String> {
        if !Path::new(HAPROXY_PATH).exists() {
            return Err("not installed: apt-get install haproxy".into());
        }
        if stage == Stage::Mix {
            return Err("it has no ngx.* API".into());
        }
        let folder = TempDir::with_prefix("haproxy-").map_err(|it| it.to_string())?;
        let (port, second) = (ports::free(), ports::free());
        let names = [
            ("PREFIX", folder.path().display().to_string()),
            ("PORT", port.to_string()),
            ("PORT2", second.to_string()),
            ("STABLE", self.address("PORT")),
            ("CANARY", self.address("PORT2")),
            ("STABLEH2", self.address("PORT3")),
            ("CANARYH2", self.address("PORT4")),
            ("CERTIFICATES", self.certificates.display().to_string()),
        ];
        let plain = "    bind 127.0.0.1:$PORT backlog 16384\n";
        let text = match stage {
            Stage::Tls => include_str!("haproxy.cfg").replace(plain, "").replace("# tls: ", ""),
            Stage::H2c => include_str!("haproxy.cfg")
                .replace("$STABLE ", "$STABLEH2 proto h2 ")
                .replace("$CANARY ", "$CANARYH2 proto h2 "),
            _ => include_str!("haproxy.cfg").to_owned(),
        };
        let text = with_names(&text, |name| {
            names.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone())
        });
        let conf = folder.path().join("haproxy.cfg");
        fs::write(&conf, text).expect("a file in a new folder");
        fs::write(folder.path().join("canary.lua"), include_str!("haproxy.lua")).expect("the same");
        let mut command = Command::new("taskset");
        command.args(["-c", "0", HAPROXY_PATH, "-db", "-f"]).arg(conf);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|it| it.to_string())?;
        let ports = [("PORT".to_owned(), port), ("PORT2".to_owned(), second)].into();
        let running = Running::Haproxy { child, ports, _folder: folder };
        let contestant = Contestant { name: HAPROXY, running };
        contestant.wait_for(port)?;
        Ok(contestant)
    }
}

/// `text`, whose server listens with TLS or asks by HTTP/2 when the stage says so.
fn on_stage(text: &str, stage: Stage) -> String {
    let plain = "        listen 127.0.0.1:$PORT backlog=16384;\n";
    assert!(text.contains(plain), "the line that becomes tls.conf");
    match stage {
        Stage::Tls => text.replace(plain, include_str!("tls.conf")),
        // nginx has HTTP/2 with upstreams as gRPC alone, which is passed on whatever it says.
        Stage::H2c => text
            .replace("proxy_http_version 1.1;", "")
            .replace("proxy_set_header Connection \"\";", "")
            .replace("proxy_set_header", "grpc_set_header")
            .replace("proxy_pass http:", "grpc_pass grpc:")
            .replace("$STABLE;", "$STABLEH2;")
            .replace("$CANARY;", "$CANARYH2;"),
        _ => text.to_owned(),
    }
}

impl Contestant {
    /// One that the harness has started.
    pub fn of(name: &'static str, server: Server) -> Self {
        Self { name, running: Running::Harness(server) }
    }

    /// The port that its configuration calls so.
    pub fn port(&self, name: &str) -> u16 {
        match &self.running {
            Running::Harness(server) => server.named_port(name),
            Running::Haproxy { ports, .. } => ports[name],
        }
    }

    /// Its (first) process.
    pub fn pid(&self) -> u32 {
        match &self.running {
            Running::Harness(server) => server.pid(),
            Running::Haproxy { child, .. } => child.id(),
        }
    }

    fn wait_for(&self, port: u16) -> Result<(), String> {
        let deadline = Instant::now() + crate::harness::PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > deadline {
                return Err("does not listen".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// It ends by itself, so that a profile is written and no worker outlives its master.
impl Drop for Contestant {
    fn drop(&mut self) {
        let members = family(self.pid());
        let _ = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        let lives = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit(')').next().and_then(|it| it.trim().chars().next());
            state.is_some_and(|it| it != 'Z')
        };
        while members.iter().any(|it| lives(*it)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        if let Running::Haproxy { child, .. } = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Makes a key and a certificate for it in `folder`.
pub fn certificates(folder: &Path) -> PathBuf {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-nodes", "-days", "2", "-subj", "/CN=localhost", "-out", "cert.pem"]);
    command.args(["-keyout", "key.pem"]).current_dir(folder);
    crate::measure::said(&mut command);
    let read = |name: &str| fs::read(folder.join(name)).expect("openssl has written it");
    fs::write(folder.join("both.pem"), [read("cert.pem"), read("key.pem")].concat())
        .expect("a file in a new folder");
    folder.to_owned()
}
