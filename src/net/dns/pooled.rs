//! A resolver for those who bring their own questions: the checks of mail.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::hickory::{DnsSetupFault, server, system_servers};

/// Answers that are remembered.
const REMEMBERED: u64 = 4_096;
/// The longest an answer is remembered.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A resolver over these servers, or the system's where none is given. Each has `timeout` for an
/// answer; answers are remembered for as long as they live, an hour at most.
///
/// # Errors
/// The system's servers are to be asked and are not known, or no client can be made.
pub fn pooled_resolver(
    servers: &[SocketAddr],
    timeout: Duration,
) -> Result<TokioResolver, DnsSetupFault> {
    let servers = match servers {
        [] => system_servers()?,
        servers => servers.iter().map(server).collect(),
    };
    let first = servers.first().map(|server| server.ip);
    let config = ResolverConfig::from_parts(None, vec![], servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    set(builder.options_mut(), timeout);
    builder.build().map_err(|error| DnsSetupFault::Server {
        server: first.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        cause: error.to_string(),
    })
}

fn set(options: &mut ResolverOpts, timeout: Duration) {
    options.timeout = timeout;
    options.attempts = 1;
    options.cache_size = REMEMBERED;
    options.positive_max_ttl = Some(LONGEST);
    options.negative_max_ttl = Some(LONGEST);
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
    options.max_active_requests = 256;
}
