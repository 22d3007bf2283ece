//! Lua chunks: numbered, named as lua-nginx-module names them, checked.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::Http;
use crate::snapshot::{Chunk, ChunkCode, ChunkId, LuaHooks};
use std::collections::HashMap;

/// Chunks so far; the same directive read twice (inheritance) is one chunk.
#[derive(Default)]
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    known: HashMap<(At, String), ChunkId>,
}

impl Chunks {
    pub(super) fn finish(self) -> Vec<Chunk> {
        self.chunks
    }
}

impl Build<'_> {
    /// The number of a chunk; a syntax error is a fault at its line.
    pub(super) fn chunk(&mut self, chunk: &model::Chunk) -> ChunkId {
        let key = (chunk.at.clone(), chunk.directive.clone());
        if let Some(id) = self.chunks.known.get(&key) {
            return *id;
        }
        let source = match &chunk.source {
            model::ChunkSource::Inline(text) => ChunkCode::Inline {
                name: chunk_name(&chunk.directive, &chunk.at).into(),
                text: text.as_str().into(),
            },
            model::ChunkSource::File(path) => match chunk.source.fixed_path() {
                Some(path) => ChunkCode::File(self.inputs.prefix.join(path)),
                None => ChunkCode::FileByVariable(path.as_str().into()),
            },
        };
        let compiled =
            Chunk { at: chunk.at.clone(), directive: chunk.directive.as_str().into(), source };
        if let Err(message) = (self.inputs.compile)(&compiled) {
            self.diagnostics.fault(&chunk.at, message);
        }
        let id = ChunkId::try_from(self.chunks.chunks.len()).unwrap_or(ChunkId::MAX);
        self.chunks.chunks.push(compiled);
        self.chunks.known.insert(key, id);
        id
    }

    /// The number of a chunk that may be there.
    pub(super) fn optional_chunk(&mut self, chunk: Option<&model::Chunk>) -> Option<ChunkId> {
        chunk.map(|it| self.chunk(it))
    }

    pub(super) fn lua_hooks(&mut self, http: &Http) -> LuaHooks {
        LuaHooks {
            init: self.optional_chunk(http.lua.init.as_ref()),
            init_worker: self.optional_chunk(http.lua.init_worker.as_ref()),
        }
    }
}

/// `=content_by_lua(nginx.conf:40)`: the file's last component, as lua-nginx-module 0.10.23 has it.
fn chunk_name(directive: &str, at: &At) -> String {
    let file = at.file.rsplit('/').next().unwrap_or(&at.file);
    format!("={directive}({file}:{})", at.line)
}
