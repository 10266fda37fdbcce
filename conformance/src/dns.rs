//! Asks a given DNS server.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use hickory_resolver::Resolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

/// The first TXT record of a name, its strings put together.
pub(crate) async fn txt(server: &str, name: &str) -> Result<String> {
    let server: SocketAddr = server
        .parse()
        .with_context(|| format!("--dns {server}: not IP:PORT"))?;
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let servers = vec![NameServerConfig::new(
        server.ip(),
        true,
        connections.to_vec(),
    )];
    let config = ResolverConfig::from_parts(None, vec![], servers);
    let resolver =
        Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build()?;
    let answer = resolver
        .txt_lookup(name)
        .await
        .with_context(|| format!("TXT {name}"))?;
    for record in answer.answers() {
        if let RData::TXT(text) = &record.data {
            return Ok(String::from_utf8_lossy(&text.txt_data.concat()).into_owned());
        }
    }
    anyhow::bail!("{name} has no TXT record")
}
