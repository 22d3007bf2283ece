//! Syslog over UDP or a unix datagram socket (RFC 3164), with nginx's parameters.

use super::level::Level;
use super::line::MAX_LINE;
use super::target::Error;
use crate::clock;
use crate::sys;
use parking_lot::Mutex;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;

/// By number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv",
    "ftp", "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
/// By number; nginx's names.
const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];
const INFO: usize = 6;
const LOCAL7: usize = 23;
const MAX_TAG: usize = 32;
const PORT: u16 = 514;
/// A length stands before each queued datagram.
const FRAME: usize = size_of::<u32>();

/// A syslog server and how it is spoken to.
#[derive(Debug)]
pub(super) struct Syslog {
    server: String,
    address: SockAddr,
    facility: usize,
    severity: usize,
    /// `HOSTNAME TAG` or `TAG`.
    sender: String,
    /// Connected when there is first something to send, and anew after a fault.
    socket: Mutex<Option<Socket>>,
}

impl Syslog {
    /// What follows `syslog:`: `server=ADDRESS[,facility=][,severity=][,tag=][,nohostname]`.
    ///
    /// # Errors
    /// What is wrong with it, in nginx's words.
    pub fn new(text: &str) -> Result<Self, Error> {
        let refuse = |message: String| Err(Error::Syslog(message));
        let (mut server, mut facility, mut severity) = (None, None, None);
        let (mut tag, mut hostname) = (None, Some(sys::host::name().to_ascii_lowercase()));
        for parameter in text.split(',') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "server" if server.is_some() => {
                    return refuse("duplicate syslog \"server\"".into());
                }
                "server" => server = Some(value),
                "facility" => facility = Some(number("facility", &FACILITIES, value)?),
                "severity" => severity = Some(number("severity", &SEVERITIES, value)?),
                "tag" => tag = Some(checked_tag(value)?),
                "nohostname" => hostname = None,
                _ => return refuse(format!("unknown syslog parameter \"{parameter}\"")),
            }
        }
        let Some(server) = server else { return refuse("no syslog server specified".into()) };
        let tag = tag.unwrap_or("moongate");
        Ok(Self {
            server: server.to_owned(),
            address: address(server)?,
            facility: facility.unwrap_or(LOCAL7),
            severity: severity.unwrap_or(INFO),
            sender: hostname.map_or(tag.to_owned(), |it| format!("{it} {tag}")),
            socket: Mutex::new(None),
        })
    }

    /// The server as the configuration names it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Bytes that [`Self::frame`] adds at most to a text of `len` bytes.
    pub fn framed_len(&self, len: usize) -> usize {
        FRAME + "<191>Nov 23 12:00:00 : ".len() + self.sender.len() + len
    }

    /// Appends a datagram with `text` to a queue: a line of an access log, or of an error log with
    /// its `level`.
    pub fn frame(&self, level: Option<Level>, text: &[u8], queue: &mut Vec<u8>) {
        let severity = level.map_or(self.severity, |it| usize::from((it as u8).saturating_sub(1)));
        let start = queue.len();
        queue.extend_from_slice(&[0; FRAME]);
        queue.extend_from_slice(format!("<{}>", self.facility * 8 + severity).as_bytes());
        queue.extend_from_slice(&clock::syslog_time());
        queue.extend_from_slice(b" ");
        queue.extend_from_slice(self.sender.as_bytes());
        queue.extend_from_slice(b": ");
        queue.extend_from_slice(&text[..text.len().min(MAX_LINE)]);
        let len = u32::try_from(queue.len() - start - FRAME).unwrap_or(0);
        queue[start..start + FRAME].copy_from_slice(&len.to_ne_bytes());
    }

    /// Sends the first queued datagram; says how many bytes of the queue it took, 0 when the
    /// receiver is behind.
    pub fn send_first(&self, queue: &[u8]) -> io::Result<usize> {
        let Some((head, rest)) = queue.split_first_chunk::<FRAME>() else { return Ok(queue.len()) };
        let len = u32::from_ne_bytes(*head) as usize;
        let datagram = &rest[..len.min(rest.len())];
        let mut socket = self.socket.lock();
        if socket.is_none() {
            *socket = Some(self.connect()?);
        }
        let sent = socket.as_ref().map_or(Ok(0), |it| it.send(datagram));
        match sent.map_err(|error| (error.kind(), error.raw_os_error(), error)) {
            Ok(_) => Ok(FRAME + datagram.len()),
            Err((ErrorKind::WouldBlock, ..)) => Ok(0),
            // It will never fit: let go of it rather than of all that follow.
            Err((_, Some(libc::EMSGSIZE), _)) => Ok(FRAME + datagram.len()),
            Err((.., error)) => {
                *socket = None;
                Err(error)
            }
        }
    }

    fn connect(&self) -> io::Result<Socket> {
        let socket = Socket::new(self.address.domain(), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.address)?;
        Ok(socket)
    }
}

fn number(kind: &str, names: &[&str], value: &str) -> Result<usize, Error> {
    names
        .iter()
        .position(|it| *it == value)
        .ok_or_else(|| Error::Syslog(format!("unknown syslog {kind} \"{value}\"")))
}

fn checked_tag(tag: &str) -> Result<&str, Error> {
    if tag.len() > MAX_TAG {
        return Err(Error::Syslog("syslog \"tag\" length exceeds 32".to_owned()));
    }
    if !tag.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
        let message = "syslog \"tag\" only allows alphanumeric characters and underscore";
        return Err(Error::Syslog(message.to_owned()));
    }
    Ok(tag)
}

fn address(server: &str) -> Result<SockAddr, Error> {
    let refuse = |why: &dyn std::fmt::Display| {
        Error::Syslog(format!("host not found in syslog server \"{server}\": {why}"))
    };
    if let Some(path) = server.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(refuse(&"no path"));
        }
        return SockAddr::unix(path).map_err(|it| refuse(&it));
    }
    let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let whole = if has_port { server.to_owned() } else { format!("{server}:{PORT}") };
    let found = whole.to_socket_addrs().map_err(|it| refuse(&it))?.next();
    let address: SockAddr = found.ok_or_else(|| refuse(&"no address"))?.into();
    debug_assert!([Domain::IPV4, Domain::IPV6].contains(&address.domain()));
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn fault(text: &str) -> String {
        Syslog::new(text).unwrap_err().to_string()
    }

    #[test]
    fn parameters_are_checked_in_nginx_s_words() {
        assert_eq!(fault("tag=x"), "no syslog server specified");
        assert_eq!(fault("server=127.0.0.1,facility=x"), "unknown syslog facility \"x\"");
        assert_eq!(fault("server=127.0.0.1,severity=x"), "unknown syslog severity \"x\"");
        assert_eq!(fault("server=127.0.0.1,colour=x"), "unknown syslog parameter \"colour=x\"");
        assert!(fault("server=unix:").ends_with("no path"));
        assert_eq!(fault("server=[::1],server=[::1]"), "duplicate syslog \"server\"");
        let tag = "syslog \"tag\" only allows alphanumeric characters and underscore";
        assert_eq!(fault("server=127.0.0.1,tag=a-b"), tag);
    }

    #[test]
    fn the_port_is_514_unless_named() {
        let port = |it: &str| address(it).unwrap().as_socket().unwrap().port();
        assert_eq!((port("127.0.0.1"), port("127.0.0.1:1514")), (514, 1514));
        assert_eq!((port("[::1]"), port("[::1]:1514")), (514, 1514));
    }

    #[test]
    fn a_datagram_a_line_with_priority_time_and_tag() {
        clock::testing::freeze(1_795_435_200_000);
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = receiver.local_addr().unwrap();
        let text = format!("server={server},facility=local0,severity=debug,tag=gate,nohostname");
        let syslog = Syslog::new(&text).unwrap();
        let mut queue = Vec::new();
        syslog.frame(None, b"GET /", &mut queue);
        syslog.frame(Some(Level::Error), b"a\nb", &mut queue);
        let taken = syslog.send_first(&queue).unwrap();
        assert_eq!(syslog.send_first(&queue[taken..]).unwrap(), queue.len() - taken);
        let time = String::from_utf8(clock::syslog_time().to_vec()).unwrap();
        for expected in [format!("<135>{time} gate: GET /"), format!("<131>{time} gate: a\nb")] {
            let mut got = [0; 100];
            let len = receiver.recv(&mut got).unwrap();
            assert_eq!(String::from_utf8_lossy(&got[..len]), expected);
            assert!(syslog.framed_len(5) >= FRAME + len - 2);
        }
    }
}
