//! Health checks of upstreams that are talked to by TLS: they speak it too, as the location does.

use super::Build;
use super::proxy_pass::split_url;
use crate::config::diagnostic::At;
use crate::config::model::{HealthKind, ProxyPass, Settings};
use crate::upstream::CheckTls;
use crate::vars::template::has_variables;
use std::sync::Arc;

impl Build<'_> {
    /// Lets the checks of the upstreams that `pass` names speak TLS as `settings` say, in the words
    /// of `family`. Of several locations the first one counts; checks of another port speak none.
    pub(super) fn secure_checks(
        &mut self,
        pass: &ProxyPass,
        settings: &Settings,
        at: &At,
        family: &str,
    ) {
        let Some(parts) = split_url(&pass.url, pass.is_bare()).ok().filter(|it| it.is_tls) else {
            return;
        };
        let model = self.inputs.model.clone();
        for name in self.named(&parts.upstream_name()) {
            let upstreams = model.http.iter().flat_map(|it| &it.upstreams);
            let block = upstreams.clone().find(|it| it.name.eq_ignore_ascii_case(&name));
            let Some(block) = block else { continue };
            for check in block.health_checks.iter().filter(|it| it.port.is_none()) {
                let http2 = match check.kind {
                    HealthKind::Tcp => continue,
                    HealthKind::Http { .. } => false,
                    HealthKind::Grpc { .. } => true,
                };
                let Some(tls) = self.check_tls(settings, (at, &check.at), family, http2, &name)
                else {
                    return;
                };
                if let Some(upstream) = self.upstreams.get(name.to_ascii_lowercase().as_str()) {
                    upstream.group.secure_checks(http2, &tls);
                }
            }
        }
    }

    /// The upstreams that an authority means: those of all variants where it is a rollout's.
    fn named(&self, authority: &str) -> Vec<String> {
        let Some(name) = authority.strip_prefix("$rollout_") else { return vec![authority.into()] };
        let mut rollouts = self.inputs.model.http.iter().flat_map(|it| &it.rollouts);
        let rollout = rollouts.find(|it| it.name == name);
        let variants = rollout.iter().flat_map(|it| it.stable.iter().chain(&it.canaries));
        variants.map(|it| it.upstream.clone()).collect()
    }

    /// How checks of `upstream` speak TLS, by HTTP/2 or HTTP/1.
    fn check_tls(
        &mut self,
        settings: &Settings,
        (at, check): (&At, &At),
        family: &str,
        http2: bool,
        upstream: &str,
    ) -> Option<CheckTls> {
        let name = settings.proxy_ssl_name.as_deref().filter(|it| *it != "$proxy_host");
        if let Some(name) = name.filter(|it| has_variables(it)) {
            let message = format!(
                "health checks have no request, and \"{family}_ssl_name {name}\" in {at} needs one"
            );
            self.diagnostics.fault(check, message);
            return None;
        }
        let version = if http2 { 20 } else { 11 };
        let settings = Settings { proxy_http_version: Some(version), ..settings.clone() };
        let spoken = self.proxy_tls(&settings, at, family)?;
        Some(CheckTls {
            client: Arc::clone(&spoken.client),
            name: name.unwrap_or(upstream).into(),
            sends_name: spoken.sends_name,
        })
    }
}
