//! Lua chunks: numbered and checked.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::Http;
use crate::snapshot::{Chunk, ChunkId, LuaHooks};
use crate::vars::template::has_variables;
use std::collections::HashMap;

/// Chunks so far; the same directive met again by inheritance is the same chunk.
#[derive(Default)]
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    known: HashMap<(At, String), Vec<ChunkId>>,
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
        let same = |id: &&ChunkId| self.chunks.chunks[**id as usize].source == *chunk;
        if let Some(id) = self.chunks.known.get(&key).and_then(|it| it.iter().find(same)) {
            return *id;
        }
        let path = match &chunk.source {
            model::ChunkSource::File(path) if has_variables(path) => {
                Some(self.template(path, &chunk.at))
            }
            _ => None,
        };
        if path.is_none()
            && let Err(message) = (self.inputs.compile)(chunk)
        {
            self.diagnostics.fault(&chunk.at, message);
        }
        let id = ChunkId::try_from(self.chunks.chunks.len()).unwrap_or(ChunkId::MAX);
        let file = chunk.at.file.rsplit('/').next().unwrap_or_default();
        let shown = format!("{}({file}:{})", chunk.directive, chunk.at.line).into();
        self.chunks.chunks.push(Chunk { id, shown, source: chunk.clone(), path });
        self.chunks.known.entry(key).or_default().push(id);
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
            ssl_session_fetch: self.optional_chunk(http.lua.ssl_session_fetch.as_ref()),
            ssl_session_store: self.optional_chunk(http.lua.ssl_session_store.as_ref()),
            exit_worker: self.optional_chunk(http.lua.exit_worker.as_ref()),
            rewrite_first: http.lua.rewrite_no_postpone.unwrap_or(false),
            access_first: http.lua.access_no_postpone.unwrap_or(false),
        }
    }
}
