//! The access phase: `allow` and `deny`, `auth_basic`, `auth_request`, `access_by_lua*`, and how
//! `satisfy` weighs them (`ngx_http_core_access_phase`).

use super::auth_request;
use super::error::Result;
use super::password::{self, Found};
use super::phases::{Flow, Serving};
use crate::http::basic;
use crate::log::Level;
use crate::lua::phase::Phase;
use crate::request::Request;
use crate::snapshot::ChunkId;
use crate::snapshot::access::{Access, Basic};
use crate::sys::errno::Errno;
use std::io::ErrorKind;
use std::path::PathBuf;

/// What checks access, in nginx's order.
#[derive(Clone, Copy, Debug)]
enum Check {
    Rules,
    Basic,
    Asked,
    Lua,
}

const ORDER: [Check; 4] = [Check::Rules, Check::Basic, Check::Asked, Check::Lua];
/// `access_by_lua_no_postpone on`
const LUA_FIRST: [Check; 4] = [Check::Lua, Check::Rules, Check::Basic, Check::Asked];

/// What one of them said.
pub(super) enum Verdict {
    /// It has nothing to say.
    None,
    /// The client may come in.
    Pass,
    /// It may not, or something else is to be done.
    Other(Flow),
}

/// Runs the phase. Only the client's own request is asked, as in nginx.
///
/// # Errors
/// The client's connection is gone, or must be cut.
pub(super) async fn run(serving: &mut Serving<'_>) -> Result<Flow> {
    if serving.request.is_subrequest() {
        return Ok(Flow::Continue);
    }
    let (access, lua) = {
        let conf = serving.request.conf();
        (conf.access.clone(), conf.lua.access)
    };
    match (access, lua) {
        (None, None) => Ok(Flow::Continue),
        (None, Some(chunk)) => match serving.lua_with_body(chunk, Phase::Access).await? {
            Flow::Declined => Ok(Flow::Continue),
            flow => Ok(flow),
        },
        (Some(access), lua) => Box::pin(weigh(serving, &access, lua)).await,
    }
}

/// Asks all that check access, and does with what they say as `satisfy` wants it.
async fn weigh(serving: &mut Serving<'_>, access: &Access, lua: Option<ChunkId>) -> Result<Flow> {
    let request = serving.request.clone();
    let first = request.snapshot.lua.access_first;
    let mut refused = 0;
    for check in if first { LUA_FIRST } else { ORDER } {
        let verdict = match check {
            Check::Rules => rules(&request, access),
            Check::Basic => match &access.basic {
                Some(it) => basic(&request, it).await,
                None => Verdict::None,
            },
            Check::Asked => match &access.asked {
                Some(it) => auth_request::ask(serving, it).await,
                None => Verdict::None,
            },
            Check::Lua => match lua {
                Some(chunk) => match serving.lua_with_body(chunk, Phase::Access).await? {
                    Flow::Continue => Verdict::Pass,
                    Flow::Declined => Verdict::None,
                    flow => Verdict::Other(flow),
                },
                None => Verdict::None,
            },
        };
        match verdict {
            Verdict::None => {}
            Verdict::Pass if access.any => {
                request.response.borrow_mut().headers.remove(b"www-authenticate");
                return Ok(Flow::Continue);
            }
            Verdict::Pass => {}
            Verdict::Other(Flow::Status(status @ (401 | 403))) if access.any => {
                if refused != 401 {
                    refused = status;
                }
            }
            Verdict::Other(flow) => return Ok(flow),
        }
    }
    if refused == 403 {
        request.log(Level::Error, format_args!("access forbidden by rule"));
    }
    Ok(if refused == 0 { Flow::Continue } else { Flow::Status(refused) })
}

/// The first rule that fits counts.
fn rules(request: &Request, access: &Access) -> Verdict {
    let client = request.client_ip();
    match access.rules.iter().find(|it| it.whom.is(client)) {
        None => Verdict::None,
        Some(rule) if rule.allow => Verdict::Pass,
        Some(_) => {
            if !access.any {
                request.log(Level::Error, format_args!("access forbidden by rule"));
            }
            Verdict::Other(Flow::Status(403))
        }
    }
}

async fn basic(request: &Request, basic: &Basic) -> Verdict {
    let realm = basic.realm.value(request);
    if *realm == b"off"[..] {
        return Verdict::None;
    }
    let given = request.headers.borrow().get(b"authorization").and_then(|it| basic::read(it));
    let Some((user, password)) = given else {
        let text = "no user/password was provided for basic authentication";
        request.log(Level::Info, format_args!("{text}"));
        return ask(request, &realm);
    };
    let path = PathBuf::from(String::from_utf8_lossy(&basic.file.value(request)).into_owned());
    let shown = String::from_utf8_lossy(&user).into_owned();
    let file = path.clone();
    // Hashing is made to be slow; other requests of the worker do not wait for it.
    let found = tokio::task::spawn_blocking(move || password::find(&file, &user, &password)).await;
    match found {
        Ok(Ok(Found::Right)) => Verdict::Pass,
        Ok(Ok(Found::Wrong)) => {
            request.log(Level::Error, format_args!("user \"{shown}\": password mismatch"));
            ask(request, &realm)
        }
        Ok(Ok(Found::Nobody)) => {
            let path = path.display();
            let text = format!("user \"{shown}\" was not found in \"{path}\"");
            request.log(Level::Error, format_args!("{text}"));
            ask(request, &realm)
        }
        Ok(Ok(Found::Unreadable)) => {
            request.log(Level::Crit, format_args!("crypt_r() failed for user \"{shown}\""));
            Verdict::Other(Flow::Status(500))
        }
        Ok(Err(error)) => {
            let (level, status) = match error.kind() {
                ErrorKind::NotFound => (Level::Error, 403),
                _ => (Level::Crit, 500),
            };
            let (path, error) = (path.display(), Errno(&error));
            request.log(level, format_args!("open() \"{path}\" failed {error}"));
            Verdict::Other(Flow::Status(status))
        }
        Err(_) => Verdict::Other(Flow::Status(500)),
    }
}

/// 401, with the realm.
fn ask(request: &Request, realm: &[u8]) -> Verdict {
    let value = [b"Basic realm=\"", realm, b"\""].concat();
    request.response.borrow_mut().headers.set("WWW-Authenticate", value);
    Verdict::Other(Flow::Status(401))
}
