//! Files below `root`: what a location without a handler answers with, as nginx's index and static
//! modules do.

use super::error::Result;
use super::filters;
use super::phases::{self, Flow, Serving};
use super::redirect;
use crate::http::uri;
use crate::log::Level;
use crate::request::Request;
use crate::request::place::Place;
use crate::request::response::{Parts, Ranges};
use crate::snapshot::conf::Alias;
use crate::sys::errno::Errno;
use bytes::Bytes;
use std::io::{self, ErrorKind, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes of a file that are read at a time.
const CHUNK: u64 = 64 << 10;

/// The type that a URI's extension has, else `default_type`.
pub(super) fn content_type(request: &Request) -> Bytes {
    let path = request.uri.borrow().clone();
    let kind = request.conf().types.find(uri::extension(&path));
    match kind {
        Some(kind) => Bytes::copy_from_slice(kind.as_bytes()),
        None => default_type(request),
    }
}

/// `default_type`.
pub(super) fn default_type(request: &Request) -> Bytes {
    request.conf().default_type.clone()
}

/// Serves the file that the URI names.
pub(super) async fn serve(serving: &mut Serving<'_>) -> Result<Flow> {
    let request = serving.request.clone();
    let method = request.method.borrow().clone();
    if !matches!(&*method, b"GET" | b"HEAD" | b"POST") {
        return Ok(Flow::Status(405));
    }
    let Some(place) = request.place() else { return Ok(Flow::Status(500)) };
    if request.uri.borrow().ends_with(b"/") {
        return Ok(index(&request, &place).await);
    }
    let path = place.as_path();
    let opened = File::open(path).await;
    let file = match opened {
        Ok(file) => file,
        Err(error) => return Ok(not_there(&request, &place, &error)),
    };
    let found = match file.metadata().await {
        Ok(found) => found,
        Err(error) => return Ok(not_there(&request, &place, &error)),
    };
    if found.is_dir() {
        return Ok(redirect::add_slash(&request));
    }
    if !found.is_file() {
        let shown = path.display();
        request.log(Level::Crit, format_args!("\"{shown}\" is not a regular file"));
        return Ok(Flow::Status(404));
    }
    if *method == *b"POST" {
        return Ok(Flow::Status(405));
    }
    send(serving, file, &found).await
}

/// `index`: the first of its files that is there, as an internal redirect.
async fn index(request: &Request, folder: &Place) -> Flow {
    let args = request.args.borrow().clone();
    let names = request.conf().index.clone();
    let mut is_folder = false;
    for name in names.iter().map(|it| it.value(request)) {
        if name.starts_with(b"/") {
            return Flow::Internal(name, args);
        }
        let mut place = folder.clone();
        place.path.extend_from_slice(&name);
        let Err(error) = fs::metadata(place.as_path()).await else {
            let base = match request.conf().alias {
                Alias::None => folder.path[folder.root_length..].to_vec(),
                Alias::Prefix(_) | Alias::Whole => request.uri.borrow().to_vec(),
            };
            return Flow::Internal([base, name.to_vec()].concat().into(), args);
        };
        match error.kind() {
            ErrorKind::NotFound => {}
            ErrorKind::NotADirectory | ErrorKind::InvalidFilename | ErrorKind::PermissionDenied => {
                return no_index(request, &place, &error);
            }
            _ => {
                let (shown, error) = (place.as_path().display(), Errno(&error));
                request.log(Level::Crit, format_args!("stat() \"{shown}\" failed {error}"));
                return Flow::Status(500);
            }
        }
        if !is_folder {
            match fs::metadata(folder.as_path()).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return no_index(request, &place, &error);
                }
                // A folder that may be searched, as its file was looked for, but not read.
                Ok(_) | Err(_) => is_folder = true,
            }
        }
    }
    let shown = folder.as_path().display();
    request.log(Level::Error, format_args!("directory index of \"{shown}\" is forbidden"));
    Flow::Status(403)
}

fn no_index(request: &Request, place: &Place, error: &io::Error) -> Flow {
    let (shown, words) = (place.as_path().display(), Errno(error));
    if error.kind() == ErrorKind::PermissionDenied {
        request.log(Level::Error, format_args!("\"{shown}\" is forbidden {words}"));
        return Flow::Status(403);
    }
    if request.conf().log_not_found {
        request.log(Level::Error, format_args!("\"{shown}\" is not found {words}"));
    }
    Flow::Status(404)
}

fn not_there(request: &Request, place: &Place, error: &io::Error) -> Flow {
    let (level, status) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => {
            (Level::Error, 404)
        }
        ErrorKind::PermissionDenied => (Level::Error, 403),
        _ => (Level::Crit, 500),
    };
    if status != 404 || request.conf().log_not_found {
        let shown = place.as_path().display();
        let error = Errno(error);
        request.log(level, format_args!("open() \"{shown}\" failed {error}"));
    }
    Flow::Status(status)
}

async fn send(
    serving: &mut Serving<'_>,
    mut file: File,
    found: &std::fs::Metadata,
) -> Result<Flow> {
    let request = serving.request.clone();
    let modified = u64::try_from(found.mtime()).unwrap_or(0);
    {
        let mut response = request.response.borrow_mut();
        response.status = 200;
        response.last_modified = Some(modified);
        response.content_type = Some(content_type(&request));
        response.content_length = Some(found.len());
        response.ranges = Ranges::Any;
        if request.conf().etag {
            response.headers.append("ETag", format!("\"{modified:x}-{:x}\"", found.len()));
        }
    }
    if serving.send_head().is_err() {
        return Ok(serving.refused());
    }
    if !super::head::has_body(&request) {
        return Ok(Flow::Done);
    }
    let parts = match &request.response.borrow().ranges {
        Ranges::Chosen(parts) => (**parts).clone(),
        _ => Parts { parts: vec![(Bytes::new(), 0..found.len())], end: Bytes::new() },
    };
    for (begin, part) in parts.parts {
        if !begin.is_empty() && !pass(serving, begin).await? {
            return Ok(Flow::Done);
        }
        if !copy(serving, &mut file, part).await? {
            return Ok(Flow::Done);
        }
    }
    if !parts.end.is_empty() {
        pass(serving, parts.end).await?;
    }
    Ok(Flow::Done)
}

/// Sends a part of a file; false where a filter has ended the response.
async fn copy(serving: &mut Serving<'_>, file: &mut File, part: Range<u64>) -> Result<bool> {
    const SHORT: &str = "a file could not be read to its end";
    if part.start > 0 && file.seek(SeekFrom::Start(part.start)).await.is_err() {
        return phases::cut(SHORT);
    }
    let mut left = part.end - part.start;
    while left > 0 {
        let wanted = left.min(CHUNK);
        let mut chunk = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        match (&mut *file).take(wanted).read_to_end(&mut chunk).await {
            Ok(0) | Err(_) => return phases::cut(SHORT),
            Ok(count) => left -= count as u64,
        }
        if !pass(serving, chunk.into()).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn pass(serving: &mut Serving<'_>, chunk: Bytes) -> Result<bool> {
    let request = serving.request.clone();
    let vm = serving.generation.vm.clone();
    if filters::body(&vm, &request, chunk, false).is_err() {
        return Ok(false);
    }
    serving.client.flush_output(&request).await?;
    Ok(true)
}
