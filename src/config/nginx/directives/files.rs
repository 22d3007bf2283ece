//! Files: where they are, and how they are sent.

use crate::config::model::{Alias, IfModifiedSince, LocationMatch, TriedFile, TryFiles, TryLast};
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HSL, LOCATION, LOCATION_IF, ONE, SERVER, Scope, custom, flag, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    custom("root", HSL | LOCATION_IF, ONE, root, "The folder of files; default `html`."),
    custom(
        "alias",
        LOCATION,
        ONE,
        root,
        "The folder that stands for the location's prefix; for a regex, the path of the file.",
    ),
    custom(
        "index",
        HSL,
        Arity::AtLeast(1),
        index,
        "The files tried for a folder, in order; default `index.html`.",
    ),
    custom(
        "try_files",
        SERVER | LOCATION,
        Arity::AtLeast(2),
        try_files,
        "Serves the first that is there, a folder where `/` ends it: `FILE… URI`, `FILE… @NAME` \
         or `FILE… =CODE`.",
    ),
    flag("etag", HSL, setting!(etag), "Files have an `ETag`; default on."),
    custom(
        "if_modified_since",
        HSL,
        ONE,
        if_modified_since,
        "How the time of a file is compared: `exact` (default), `before` or `off`.",
    ),
    Directive::new(
        "max_ranges",
        HSL,
        ONE,
        Apply::Number(setting!(max_ranges)),
        "The most parts of a file that a client may ask for at once; default no limit.",
    ),
    flag(
        "proxy_force_ranges",
        HSL,
        setting!(proxy_force_ranges),
        "Cuts out the part that a client asks for whatever the upstream can do; default off.",
    ),
];

fn root(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let alias = node.name == "alias";
    let path = lower.text(node, node.arg(0));
    let kind = match scope {
        Scope::Location(location) if alias => match &location.matches {
            LocationMatch::Named(_) => {
                let message = "the \"alias\" directive cannot be used inside the named location";
                return lower.fault(node, message);
            }
            LocationMatch::Regex(_) | LocationMatch::RegexCaseless(_) => Some(Alias::Whole),
            LocationMatch::Exact(uri)
            | LocationMatch::Prefix(uri)
            | LocationMatch::PrefixNoRegex(uri) => Some(Alias::Prefix(uri.len())),
        },
        _ => None,
    };
    for name in ["document_root", "realpath_root"] {
        if path.contains(&format!("${name}")) || path.contains(&format!("${{{name}}}")) {
            let message =
                format!("the ${name} variable cannot be used in the \"{}\" directive", node.name);
            return lower.fault(node, message);
        }
    }
    let Some(settings) = scope.settings() else { return };
    if settings.root.is_none() {
        settings.root = Some(path);
        settings.alias = kind;
    } else if settings.alias.is_some() == alias {
        lower.duplicate(node);
    } else {
        let earlier = if alias { "root" } else { "alias" };
        let name = &node.name;
        let message = format!(
            "\"{name}\" directive is duplicate, \"{earlier}\" directive was specified earlier"
        );
        lower.fault(node, message);
    }
}

fn index(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let last = node.args.len() - 1;
    for (number, name) in node.texts().enumerate() {
        if name.starts_with('/') && number != last {
            let message = "only the last index in \"index\" directive should be absolute";
            lower.warning(node, message);
        }
        if name.is_empty() {
            let message = format!("index \"{name}\" in \"index\" directive is invalid");
            return lower.fault(node, message);
        }
    }
    let names: Vec<_> = node.texts().map(|it| lower.text(node, it)).collect();
    if let Some(settings) = scope.settings() {
        settings.index.get_or_insert_with(Vec::new).extend(names);
    }
}

fn try_files(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let texts: Vec<_> = node.texts().map(|it| lower.text(node, it)).collect();
    let Some((last, files)) = texts.split_last() else { return };
    let files = files.iter().map(|path| match path.strip_suffix('/') {
        Some(folder) => TriedFile { path: folder.to_owned(), is_folder: true },
        None => TriedFile { path: path.clone(), is_folder: false },
    });
    let last = match last.strip_prefix('=') {
        None => TryLast::To(last.clone()),
        Some(code) => match units::number(code).and_then(|it| u16::try_from(it).ok()) {
            Some(code) if code <= 999 => TryLast::Status(code),
            _ => return lower.fault(node, format!("invalid code \"{last}\"")),
        },
    };
    let tried = TryFiles { at: node.at.clone(), files: files.collect(), last };
    let slot = match scope {
        Scope::Server(server) => Some(&mut server.try_files),
        Scope::Location(location) => Some(&mut location.try_files),
        _ => None,
    };
    lower.once(node, slot, Some(tried));
}

fn if_modified_since(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = match node.arg(0) {
        "off" => IfModifiedSince::Off,
        "exact" => IfModifiedSince::Exact,
        "before" => IfModifiedSince::Before,
        text => {
            let help = "it must be \"off\", \"exact\" or \"before\"";
            return lower.fault(node, format!("invalid value \"{text}\"; {help}"));
        }
    };
    lower.once(node, scope.settings().map(|it| &mut it.if_modified_since), Some(value));
}
