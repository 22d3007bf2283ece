//! `try_files`: before a location answers, the URI becomes that of the first file that is there
//! (`ngx_http_try_files_handler`).

use super::phases::{Flow, Serving};
use crate::http::uri;
use crate::log::Level;
use crate::request::Request;
use crate::request::place::Place;
use crate::snapshot::conf::Alias;
use crate::snapshot::files::TryLast;
use crate::sys::errno::Errno;
use bytes::Bytes;
use std::io::ErrorKind;

/// Runs `try_files` of the request's location.
pub(super) async fn run(serving: &Serving<'_>) -> Flow {
    let request = &serving.request;
    let Some(tried) = request.location().try_files.clone() else { return Flow::Continue };
    let alias = request.conf().alias;
    for file in &tried.files {
        let name = below_alias(request, alias, file.path.value(&**request));
        let Some(place) = request.place() else { return Flow::Status(500) };
        let place = place.with(&name);
        if is_there(request, &place, file.is_folder).await {
            take(request, alias, name, file.is_folder);
            return Flow::Continue;
        }
    }
    match &tried.last {
        TryLast::Status(status) => Flow::Status(*status),
        TryLast::To(target) => {
            let target = below_alias(request, alias, target.value(&**request));
            match target.strip_prefix(b"@") {
                Some(name) => Flow::Named(Bytes::copy_from_slice(name)),
                None => {
                    let (path, args) = uri::split_args(&target);
                    Flow::Internal(path, args)
                }
            }
        }
    }
}

/// With `alias` a name that begins as the URI does has that beginning taken off: what `$uri` gives
/// is below the location's prefix.
fn below_alias(request: &Request, alias: Alias, name: Bytes) -> Bytes {
    match alias {
        Alias::Prefix(length) => {
            let uri = request.uri.borrow();
            match uri.get(..length).is_some_and(|it| name.starts_with(it)) {
                true => name.slice(length..),
                false => name,
            }
        }
        Alias::None | Alias::Whole => name,
    }
}

async fn is_there(request: &Request, place: &Place, is_folder: bool) -> bool {
    match tokio::fs::metadata(place.as_path()).await {
        Ok(found) => found.is_dir() == is_folder,
        Err(error) => {
            let is_absent = matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
            );
            if !is_absent {
                let (shown, error) = (place.as_path().display(), Errno(&error));
                request.log(Level::Crit, format_args!("stat() \"{shown}\" failed {error}"));
            }
            false
        }
    }
}

/// The URI becomes that of what was found; the target stays what upstreams are asked for.
fn take(request: &Request, alias: Alias, name: Bytes, is_folder: bool) {
    let uri = match alias {
        Alias::None => name,
        Alias::Prefix(length) => {
            let uri = request.uri.borrow();
            [uri.get(..length).unwrap_or_default(), &name].concat().into()
        }
        Alias::Whole if is_folder => return,
        Alias::Whole => {
            request.adds_uri_to_alias.set(true);
            name
        }
    };
    *request.uri.borrow_mut() = uri;
}
