//! The rewrite module's programs.

use super::lua_phase;
use super::phases::Flow;
use crate::http::escape;
use crate::http::setters;
use crate::log::Level;
use crate::lua::phase::Phase;
use crate::lua::vm::Vm;
use crate::request::Request;
use crate::snapshot::location::Content;
use crate::snapshot::program::{AfterRewrite, Assign, CapturingRegex, Condition, Op, Setter};
use crate::snapshot::proxy_target::TargetKind;
use crate::vars::Source;
use crate::vars::Template;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What an op does to the rest of the program.
enum Next {
    /// The next op.
    On,
    /// No more ops.
    Break,
    /// No more ops, and this.
    Stop(Flow),
}

/// Runs a program; [`Flow::Relocate`] when it changed the URI.
pub(super) fn run(vm: &Vm, request: &Rc<Request>, program: &[Op]) -> Flow {
    let mut changed = false;
    match ops(vm, request, program, &mut changed) {
        Next::Stop(flow) => flow,
        Next::On | Next::Break if changed => Flow::Relocate,
        Next::On | Next::Break => Flow::Continue,
    }
}

fn ops(vm: &Vm, request: &Rc<Request>, program: &[Op], changed: &mut bool) -> Next {
    for op in program {
        match step(vm, request, op, changed) {
            Next::On => {}
            next => return next,
        }
    }
    Next::On
}

fn step(vm: &Vm, request: &Rc<Request>, op: &Op, changed: &mut bool) -> Next {
    match op {
        Op::Set { shown, target, value } => {
            let value = value.value(&**request);
            note_source(request, target, shown);
            // Declared when the configuration was compiled, thus assignable.
            let _ = request.assign(target, Some(value));
            Next::On
        }
        Op::SetByLua { target, chunk, args } => set_by_lua(vm, request, target, *chunk, args),
        Op::Setter { shown, target, verb, args } => {
            let args: Vec<Bytes> = args.iter().map(|it| it.value(&**request)).collect();
            match setter(request, verb, &args) {
                Ok(value) => {
                    note_source(request, target, shown);
                    let _ = request.assign(target, Some(value));
                    Next::On
                }
                Err(text) => {
                    request.log(Level::Error, format_args!("{text}"));
                    Next::Stop(Flow::Status(500))
                }
            }
        }
        Op::If { condition, then, location } => {
            if !holds(request, condition) {
                return Next::On;
            }
            if let Some(location) = location {
                request.location.set(*location);
            }
            ops(vm, request, then, changed)
        }
        Op::Rewrite { regex, replacement, args, keep_args, after } => {
            let new = Replacement { path: replacement, args: args.as_ref(), keep: *keep_args };
            rewrite(request, regex, &new, *after, changed)
        }
        Op::Return { status, text } => {
            let text = text.as_ref().map(|it| {
                // The text may show it.
                request.response.borrow_mut().status = *status;
                it.value(&**request)
            });
            Next::Stop(answer(*status, text))
        }
        Op::Break => {
            *changed = false;
            Next::Break
        }
    }
}

/// What a directive of set-misc makes of its arguments.
fn setter(request: &Request, verb: &Setter, args: &[Bytes]) -> Result<Bytes, String> {
    let arg = |index: usize| args.get(index).cloned().unwrap_or_default();
    match verb {
        Setter::Function(function) => function(&request.conf().base32, &arg(0)).map(Bytes::from),
        Setter::IfEmpty if arg(0).is_empty() => Ok(arg(1)),
        Setter::IfEmpty => Ok(arg(0)),
        Setter::Hmac { sha256 } => Ok(setters::hmac(*sha256, &arg(0), &arg(1)).into()),
        Setter::Random => setters::random(&arg(0), &arg(1)).map(Bytes::from),
        Setter::Rotate(last) => {
            let before = Some(last.load(Ordering::Relaxed)).filter(|it| *it != i64::MIN);
            let (next, odd) = setters::rotate(&arg(0), &arg(1), &arg(2), before)?;
            if let Some(text) = odd {
                request.log(Level::Error, format_args!("{text}"));
            }
            last.store(next, Ordering::Relaxed);
            Ok(next.to_string().into())
        }
        Setter::HashedUpstream(lists) => {
            let (name, key) = (arg(0), arg(1));
            let name = String::from_utf8_lossy(&name);
            let Some((_, list)) = lists.iter().find(|it| it.0 == *name) else {
                let text = format!("upstream list \"{name}\" not defined yet");
                return Err(format!("set_hashed_upstream: {text}"));
            };
            // nginx keeps 32 bits of the hash.
            let hash = setters::hash_lower(&key) & u64::from(u32::MAX);
            let index = usize::try_from(hash).unwrap_or(0) % list.len().max(1);
            Ok(list.get(index).map(|it| Bytes::copy_from_slice(it.as_bytes())).unwrap_or_default())
        }
    }
}

/// What `return` answers with.
fn answer(status: u16, text: Option<Bytes>) -> Flow {
    match (status, text) {
        (444, _) => Flow::Status(444),
        (301 | 302 | 303 | 307 | 308, Some(location)) => Flow::Redirect(status, location),
        (_, Some(text)) => Flow::Text(status, text),
        (200..=299, None) => Flow::Text(status, Bytes::new()),
        (_, None) => Flow::Status(status),
    }
}

fn set_by_lua(
    vm: &Vm,
    request: &Rc<Request>,
    target: &Assign,
    id: crate::snapshot::ChunkId,
    args: &[Template],
) -> Next {
    let chunk = &request.snapshot.chunks[id as usize];
    let args = args.iter().map(|it| it.value(&**request)).collect();
    let handler = match lua_phase::load(vm, chunk, request) {
        Ok(handler) => handler,
        Err(error) => {
            request.log(Level::Error, format_args!("{error}"));
            return Next::Stop(Flow::Status(500));
        }
    };
    match vm.set_by_lua(&handler, request, args) {
        Ok(value) => {
            note_source(request, target, &chunk.shown);
            let _ = request.assign(target, Some(value.unwrap_or_default()));
            Next::On
        }
        Err(failure) => {
            lua_phase::count(Phase::Set, &failure);
            request.log_bytes(Level::Error, &failure.sync_text(Phase::Set.context()));
            Next::Stop(Flow::Status(500))
        }
    }
}

/// The Decision names the directive that set the variable which `proxy_pass` reads.
fn note_source(request: &Request, target: &Assign, source: &Arc<str>) {
    let Content::Proxy(proxy) = &request.location().content else { return };
    let TargetKind::Variable(url) = &proxy.kind else { return };
    if url.variables().any(|it| it == target) {
        request.decision.borrow_mut().source = Some(Arc::clone(source));
    }
}

fn holds(request: &Rc<Request>, condition: &Condition) -> bool {
    match condition {
        Condition::True(variable) => {
            request.value(variable).is_some_and(|it| !it.is_empty() && *it != b"0"[..])
        }
        Condition::Equals { variable, text, negated } => {
            let equal = request.value(variable).unwrap_or_default() == text.value(&**request);
            equal != *negated
        }
        Condition::Matches { variable, regex, negated } => {
            let subject = request.value(variable).unwrap_or_default();
            request.match_regex(regex, subject) != *negated
        }
        Condition::File { test, path, negated } => {
            let path = String::from_utf8_lossy(&path.value(&**request)).into_owned();
            file_test(*test, &path) != *negated
        }
    }
}

fn file_test(test: char, path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let Ok(found) = std::fs::metadata(path) else { return false };
    match test {
        'f' => found.is_file(),
        'd' => found.is_dir(),
        'x' => found.permissions().mode() & 0o111 != 0,
        _ => true,
    }
}

/// What a URI becomes.
struct Replacement<'a> {
    path: &'a Template,
    args: Option<&'a Template>,
    keep: bool,
}

fn rewrite(
    request: &Rc<Request>,
    regex: &CapturingRegex,
    new: &Replacement<'_>,
    after: AfterRewrite,
    changed: &mut bool,
) -> Next {
    let uri = request.uri.borrow().clone();
    if !request.match_regex(regex, uri) {
        return Next::On;
    }
    if let AfterRewrite::Redirect(status) = after {
        return Next::Stop(Flow::Redirect(status, redirect_target(request, new)));
    }
    let path = new.path.value(&**request);
    let given = new.args.map(|it| it.value(&**request));
    let own = request.args.borrow().clone().filter(|_| new.keep);
    let args = match (given, own) {
        (Some(given), Some(own)) if !own.is_empty() => {
            Some(Bytes::from([&given, &b"&"[..], &own].concat()))
        }
        (Some(given), _) => Some(given),
        (None, own) => own,
    };
    if path.is_empty() {
        request.log(Level::Error, format_args!("the rewritten URI has a zero length"));
        return Next::Stop(Flow::Status(500));
    }
    request.rewrite_uri(path, Some(args.filter(|it| !it.is_empty())));
    request.internal.set(true);
    match after {
        AfterRewrite::Last => Next::Stop(Flow::Relocate),
        AfterRewrite::Break => {
            request.broke_out.set(true);
            *changed = false;
            Next::Break
        }
        AfterRewrite::Continue | AfterRewrite::Redirect(_) => {
            *changed = true;
            Next::On
        }
    }
}

/// A redirect's URL: captures are escaped, arguments kept.
fn redirect_target(request: &Rc<Request>, new: &Replacement<'_>) -> Bytes {
    let mut url = Vec::new();
    let quoted = request.target.contains(&b'%');
    append_escaped(request, new.path, quoted, &mut url);
    if let Some(args) = new.args {
        url.push(b'?');
        append_escaped(request, args, quoted, &mut url);
    }
    if new.keep
        && let Some(own) = request.args.borrow().as_ref().filter(|it| !it.is_empty())
    {
        url.push(if new.args.is_some() { b'&' } else { b'?' });
        url.extend_from_slice(own);
    }
    url.into()
}

/// nginx escapes captures, where the URI had escapes; other variables are as they are.
fn append_escaped(request: &Rc<Request>, text: &Template, quoted: bool, out: &mut Vec<u8>) {
    let parts = std::cell::RefCell::new(out);
    text.walk(
        |literal| parts.borrow_mut().extend_from_slice(literal),
        |var, _| {
            let mut value = Vec::new();
            request.append(var, &mut value);
            if quoted && matches!(var, Assign::Capture(_)) {
                escape::escape_into(&mut parts.borrow_mut(), &value, &escape::ARGS);
            } else {
                parts.borrow_mut().extend_from_slice(&value);
            }
        },
    );
}
