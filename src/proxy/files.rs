//! Files below `root`: what a location without a handler answers with, as nginx's static module.

use super::error::Result;
use super::filters;
use super::phases::{Flow, Serving};
use super::redirect;
use crate::http::date;
use crate::http::uri;
use crate::log::Level;
use crate::request::Request;
use crate::sys::errno::Errno;
use bytes::Bytes;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tokio::io::AsyncReadExt;

/// Bytes of a file that are read at a time.
const CHUNK: usize = 64 << 10;

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
    if !matches!(&*method, b"GET" | b"HEAD") {
        return Ok(Flow::Status(405));
    }
    let uri = String::from_utf8_lossy(&request.uri.borrow()).into_owned();
    let root = request.root_path();
    let path = root.join(uri.trim_start_matches('/'));
    if uri.ends_with('/') {
        return Ok(index(&request, &path, &uri).await);
    }
    let opened = tokio::fs::File::open(&path).await;
    let file = match opened {
        Ok(file) => file,
        Err(error) => return Ok(not_there(&request, &path, &error)),
    };
    let found = match file.metadata().await {
        Ok(found) => found,
        Err(error) => return Ok(not_there(&request, &path, &error)),
    };
    if found.is_dir() {
        return Ok(redirect::add_slash(&request));
    }
    if !found.is_file() {
        return Ok(Flow::Status(404));
    }
    send(serving, file, &found).await
}

/// `index index.html`.
async fn index(request: &Request, folder: &Path, uri: &str) -> Flow {
    if tokio::fs::metadata(folder.join("index.html")).await.is_ok() {
        let args = request.args.borrow().clone();
        return Flow::Internal(format!("{uri}index.html").into(), args);
    }
    match tokio::fs::metadata(folder).await {
        Ok(_) => {
            let shown = folder.display();
            request.log(Level::Error, format_args!("directory index of \"{shown}\" is forbidden"));
            Flow::Status(403)
        }
        Err(error) => not_there(request, &folder.join("index.html"), &error),
    }
}

fn not_there(request: &Request, path: &Path, error: &std::io::Error) -> Flow {
    use std::io::ErrorKind;
    let status = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => 404,
        ErrorKind::PermissionDenied => 403,
        _ => 500,
    };
    if status != 404 || request.conf().log_not_found {
        let shown = path.display();
        let error = Errno(error);
        request.log(Level::Error, format_args!("open() \"{shown}\" failed {error}"));
    }
    Flow::Status(status)
}

async fn send(
    serving: &mut Serving<'_>,
    mut file: tokio::fs::File,
    found: &std::fs::Metadata,
) -> Result<Flow> {
    let request = serving.request.clone();
    let modified = u64::try_from(found.mtime()).unwrap_or(0);
    let tag = format!("\"{modified:x}-{:x}\"", found.len());
    let unchanged = is_unchanged(&request, modified, tag.as_bytes());
    {
        let mut response = request.response.borrow_mut();
        response.status = if unchanged { 304 } else { 200 };
        response.last_modified = Some(modified);
        response.headers.append("ETag", tag);
        if !unchanged {
            response.content_type = Some(content_type(&request));
            response.content_length = Some(found.len());
            response.headers.append("Accept-Ranges", "bytes");
        }
    }
    if serving.send_head().is_err() {
        return Ok(Flow::Done);
    }
    let vm = serving.generation.vm.clone();
    if unchanged || request.is_head() {
        return Ok(Flow::Done);
    }
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        match (&mut file).take(CHUNK as u64).read_to_end(&mut chunk).await {
            Ok(0) => return Ok(Flow::Done),
            Ok(_) => {}
            Err(_) => return super::phases::cut("a file could not be read to its end"),
        }
        if filters::body(&vm, &request, chunk.into(), false).is_err() {
            return Ok(Flow::Done);
        }
        serving.client.flush_output(&request).await?;
    }
}

/// `If-None-Match`, else `If-Modified-Since` (nginx: exact).
fn is_unchanged(request: &Request, modified: u64, tag: &[u8]) -> bool {
    let headers = request.headers.borrow();
    if let Some(tags) = headers.get(b"if-none-match") {
        let mut tags = tags.split(|it| *it == b',').map(<[u8]>::trim_ascii);
        return tags.any(|it| it == b"*" || it.strip_prefix(b"W/").unwrap_or(it) == tag);
    }
    let since = headers.get(b"if-modified-since").and_then(|it| date::parse(it));
    since.is_some_and(|it| u64::try_from(it) == Ok(modified))
}
