//! The main level and `events`.

use crate::config::model::{Http, ThreadPool, WorkerProcesses};
use crate::config::nginx::directive::{
    ANYWHERE, Apply, Arity, Directive, EVENTS, MAIN, ONE, Scope, custom, flag, millis,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    flag(
        "daemon",
        MAIN,
        |s| Some(&mut s.main()?.daemon),
        "Go to the background; off unless written.",
    ),
    flag(
        "master_process",
        MAIN,
        |s| Some(&mut s.main()?.master_process),
        "Accepted: Moongate is one process with worker threads either way.",
    ),
    Directive::new(
        "pid",
        MAIN,
        ONE,
        Apply::Path(|s| Some(&mut s.main()?.pid)),
        "The file that holds the process id; default `logs/moongate.pid`.",
    ),
    custom("user", MAIN, Arity::Between(1, 2), user, "The user, and group, of the workers."),
    custom(
        "worker_processes",
        MAIN,
        ONE,
        worker_processes,
        "Worker threads, or `auto` for one a CPU; default 1.",
    ),
    Directive::new(
        "worker_rlimit_nofile",
        MAIN,
        ONE,
        Apply::Number(|s| Some(&mut s.main()?.worker_rlimit_nofile)),
        "The limit of open files.",
    ),
    millis(
        "worker_shutdown_timeout",
        MAIN,
        |s| Some(&mut s.main()?.worker_shutdown_timeout_ms),
        "How long a drain may take before connections are closed.",
    ),
    custom(
        "thread_pool",
        MAIN,
        Arity::Between(2, 3),
        thread_pool,
        "`NAME threads=N [max_queue=N]`: threads of each worker for `ngx.run_worker_thread`.",
    ),
    custom("env", MAIN, ONE, env, "Keeps an environment variable for Lua, or sets it."),
    Directive::new(
        "working_directory",
        MAIN,
        ONE,
        Apply::Path(|s| Some(&mut s.main()?.working_directory)),
        "The working directory.",
    ),
    Directive::new(
        "admin_listen",
        MAIN,
        ONE,
        Apply::Custom(admin_listen),
        "The address of `/metrics`, `/healthz` and `/status`, or `off`; default `127.0.0.1:9180`.",
    )
    .ours(),
    custom("include", ANYWHERE, ONE, include, "Reads a file, or all that a glob matches, here."),
    custom("load_module", MAIN, ONE, load_module, "Accepted for modules that are built in."),
    custom("events", MAIN, Arity::Exactly(0), events, "The connections of the workers.").block(),
    custom("http", MAIN, Arity::Exactly(0), http, "Everything about HTTP.").block(),
    Directive::new(
        "worker_connections",
        EVENTS,
        ONE,
        Apply::Custom(worker_connections),
        "Client connections that a worker may have open; default 512.",
    ),
    flag(
        "multi_accept",
        EVENTS,
        |s| Some(&mut s.events()?.multi_accept),
        "Accepted: a worker always accepts what is waiting.",
    ),
];

fn user(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let group = node.args.get(1).map(|it| it.text.clone());
    let slot = scope.main().map(|it| &mut it.user);
    lower.once(node, slot, Some((node.arg(0).to_owned(), group)));
}

fn worker_processes(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let count = units::number(node.arg(0)).filter(|it| (1..=1024).contains(it));
    let value = match (node.arg(0), count.and_then(|it| usize::try_from(it).ok())) {
        ("auto", _) => WorkerProcesses::Auto,
        (_, Some(count)) => WorkerProcesses::Count(count),
        (text, None) => {
            let help = "is not \"auto\" or a number from 1 to 1024";
            let message =
                format!("\"worker_processes\" directive invalid value; \"{text}\" {help}");
            return lower.fault(node, message);
        }
    };
    lower.once(node, scope.main().map(|it| &mut it.worker_processes), Some(value));
}

/// Tasks that may wait in a pool, as in nginx.
const MAX_QUEUE: usize = 65536;

fn thread_pool(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut pool = ThreadPool { name: node.arg(0).to_owned(), threads: 0, max_queue: MAX_QUEUE };
    for arg in &node.args[1..] {
        let number = |it: &str| units::number(it).and_then(|it| usize::try_from(it).ok());
        match arg.text.split_once('=').map(|(key, value)| (key, number(value))) {
            Some(("threads", Some(threads))) if threads > 0 => pool.threads = threads,
            Some(("max_queue", Some(max_queue))) => pool.max_queue = max_queue,
            Some(("threads", _)) => {
                return lower.fault(node, format!("invalid threads value \"{}\"", arg.text));
            }
            Some(("max_queue", None)) => {
                return lower.fault(node, format!("invalid max_queue value \"{}\"", arg.text));
            }
            _ => return lower.fault(node, format!("invalid parameter \"{}\"", arg.text)),
        }
    }
    if pool.threads == 0 {
        let text = format!("\"thread_pool\" must have \"threads\" parameter (\"{}\")", pool.name);
        return lower.fault(node, text);
    }
    let Some(main) = scope.main() else { return };
    if main.thread_pools.iter().any(|it| it.name == pool.name) {
        return lower.fault(node, format!("duplicate thread pool \"{}\"", pool.name));
    }
    main.thread_pools.push(pool);
}

fn env(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let (name, value) = match node.arg(0).split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (node.arg(0), None),
    };
    if name.is_empty() || node.arg(0).contains('\0') {
        return lower.fault(node, format!("invalid environment variable \"{}\"", node.arg(0)));
    }
    if let Some(main) = scope.main() {
        main.env.push((name.to_owned(), value));
    }
}

fn admin_listen(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let text = node.arg(0);
    if text != "off" && text.parse::<std::net::SocketAddr>().is_err() {
        let help = "write ADDRESS:PORT such as 127.0.0.1:9180, or \"off\"";
        return lower.fault(node, format!("invalid value \"{text}\" in \"admin_listen\"; {help}"));
    }
    lower.once(node, scope.main().map(|it| &mut it.admin_listen), Some(text.to_owned()));
}

/// Nothing: files are read before directives are applied; only its arguments are judged here.
fn include(_: &mut Lower<'_>, _: &mut Scope<'_>, _: &Node) {}

/// The modules whose directives are built in, as their files are called.
const BUILT_IN: &[&str] = &[
    "ndk_http_module",
    "ngx_http_echo_module",
    "ngx_http_headers_more_filter_module",
    "ngx_http_set_misc_module",
    "ngx_http_lua_module",
    "ngx_http_lua_upstream_module",
    "ngx_http_ndk_module",
];

fn load_module(lower: &mut Lower<'_>, _: &mut Scope<'_>, node: &Node) {
    let file = node.arg(0).rsplit('/').next().unwrap_or_default();
    let module = file.strip_suffix(".so").unwrap_or(file);
    if BUILT_IN.contains(&module) {
        let message = format!("\"load_module\" has no effect: {module} is built in");
        return lower.notice(node, message);
    }
    let help = "nginx's modules cannot be loaded";
    lower.fault(
        node,
        format!("module \"{module}\" is not supported by this version of Moongate; {help}"),
    );
}

fn events(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Scope::Main(model) = scope else { return };
    if model.events.is_some() {
        return lower.duplicate(node);
    }
    let events = model.events.insert(crate::config::model::Events::default());
    lower.block(node.children(), &mut Scope::Events(events));
}

fn http(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Scope::Main(model) = scope else { return };
    if model.http.is_some() {
        return lower.duplicate(node);
    }
    let mut http = Http::default();
    super::health::read_matches(lower, node.children());
    lower.block(node.children(), &mut Scope::Http(&mut http));
    super::health::attach(lower, &mut http);
    model.http = Some(http);
}

fn worker_connections(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let count = units::number(node.arg(0)).and_then(|it| usize::try_from(it).ok());
    let Some(count) = count.filter(|it| *it > 0) else {
        return lower
            .fault(node, format!("invalid number \"{}\"; it must be 1 or more", node.arg(0)));
    };
    lower.once(node, scope.events().map(|it| &mut it.worker_connections), Some(count));
}
