//! Integration tests: the binary, real sockets, real processes. A file a behaviour.

#[expect(dead_code, reason = "the differential suite and the benchmark need more of it")]
mod harness;

mod admin;
mod clients;
mod command_line;
mod cosockets;
mod drain;
mod examples;
mod explain;
mod faults;
mod flapping;
mod framing;
mod grpc;
mod health;
mod http2;
mod http2_framing;
mod http2_outages;
mod http2_upstream_faults;
mod http2_upstreams;
mod libraries;
mod limits;
mod logs;
mod lua_clients;
mod lua_errors;
mod metrics;
mod monitoring;
mod names;
mod pipe;
mod properties;
mod queue;
mod readme;
mod reload;
mod retries;
mod rollout_control;
mod rollout_guard;
mod rollout_prometheus;
mod rollouts;
mod startup;
mod system_calls;
mod tls;
mod tls_scripts;
mod upgrades;
mod upstream_bodies;
mod upstream_faults;
mod upstream_tls;
