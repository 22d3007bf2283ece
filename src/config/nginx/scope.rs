//! The part of the model that a directive speaks of: the block around it.

use crate::config::model::{
    Events, HealthMatch, Http, IfBlock, Location, Main, Model, RewriteOp, Rollout, Server,
    Settings, Upstream,
};
use crate::config::nginx::directive::{
    Contexts, EVENTS, HTTP, LOCATION, LOCATION_IF, MAIN, MATCH, ROLLOUT, SERVER, SERVER_IF,
    UPSTREAM,
};

/// The block around a directive, as the model has it.
#[derive(Debug)]
pub enum Scope<'a> {
    /// The main level.
    Main(&'a mut Model),
    /// `events`
    Events(&'a mut Events),
    /// `http`
    Http(&'a mut Http),
    /// `server`
    Server(&'a mut Server),
    /// `location`
    Location(&'a mut Location),
    /// `if` in a server
    ServerIf(&'a mut IfBlock),
    /// `if` in a location
    LocationIf(&'a mut IfBlock),
    /// `upstream`
    Upstream(&'a mut Upstream),
    /// `match`
    Match(&'a mut HealthMatch),
    /// `rollout`
    Rollout(&'a mut Rollout),
}

impl Scope<'_> {
    /// Its bit in the table of directives.
    pub fn context(&self) -> Contexts {
        match self {
            Self::Main(_) => MAIN,
            Self::Events(_) => EVENTS,
            Self::Http(_) => HTTP,
            Self::Server(_) => SERVER,
            Self::Location(_) => LOCATION,
            Self::ServerIf(_) => SERVER_IF,
            Self::LocationIf(_) => LOCATION_IF,
            Self::Upstream(_) => UPSTREAM,
            Self::Match(_) => MATCH,
            Self::Rollout(_) => ROLLOUT,
        }
    }

    /// The main level's own directives.
    pub fn main(&mut self) -> Option<&mut Main> {
        match self {
            Self::Main(model) => Some(&mut model.main),
            _ => None,
        }
    }

    /// The `events` block.
    pub fn events(&mut self) -> Option<&mut Events> {
        match self {
            Self::Events(events) => Some(events),
            _ => None,
        }
    }

    /// The `http` block.
    pub fn http(&mut self) -> Option<&mut Http> {
        match self {
            Self::Http(http) => Some(http),
            _ => None,
        }
    }

    /// The `server` block.
    pub fn server(&mut self) -> Option<&mut Server> {
        match self {
            Self::Server(server) => Some(server),
            _ => None,
        }
    }

    /// The `location` block.
    pub fn location(&mut self) -> Option<&mut Location> {
        match self {
            Self::Location(location) => Some(location),
            _ => None,
        }
    }

    /// The `upstream` block.
    pub fn upstream(&mut self) -> Option<&mut Upstream> {
        match self {
            Self::Upstream(upstream) => Some(upstream),
            _ => None,
        }
    }

    /// The `rollout` block.
    pub fn rollout(&mut self) -> Option<&mut Rollout> {
        match self {
            Self::Rollout(rollout) => Some(rollout),
            _ => None,
        }
    }

    /// What is inherited, in a block that has it.
    pub fn settings(&mut self) -> Option<&mut Settings> {
        match self {
            Self::Http(it) => Some(&mut it.settings),
            Self::Server(it) => Some(&mut it.settings),
            Self::Location(it) => Some(&mut it.settings),
            Self::ServerIf(it) | Self::LocationIf(it) => Some(&mut it.settings),
            _ => None,
        }
    }

    /// The rewrite module's list, in a block that has it.
    pub fn rewrite(&mut self) -> Option<&mut Vec<RewriteOp>> {
        match self {
            Self::Server(it) => Some(&mut it.rewrite),
            Self::Location(it) => Some(&mut it.rewrite),
            Self::ServerIf(it) | Self::LocationIf(it) => Some(&mut it.rewrite),
            _ => None,
        }
    }
}
