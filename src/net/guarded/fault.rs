//! What can go wrong with a request to others.

use std::error::Error;
use std::net::IpAddr;

use thiserror::Error;

/// How far a request came. Its text is for the operator and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetFault {
    /// All addresses of the host are in ranges we do not connect to.
    #[error("{host}: {address} is not connected to ({range})")]
    RefusedAddress {
        /// The host.
        host: String,
        /// The last address that was refused.
        address: IpAddr,
        /// What kind of range it is in.
        range: &'static str,
    },
    /// The DNS does not answer.
    #[error("{host}: {cause}")]
    Dns {
        /// The host.
        host: String,
        /// What it says.
        cause: String,
    },
    /// The name has no address.
    #[error("{host} has no address")]
    NoAddress {
        /// The host.
        host: String,
    },
    /// No connection.
    #[error("{host}: no connection: {cause}")]
    Connect {
        /// The host.
        host: String,
        /// What the system says.
        cause: String,
    },
    /// TLS failed: version or certificate, theirs or ours.
    #[error("{host}: TLS: {cause}")]
    Tls {
        /// The host.
        host: String,
        /// What is wrong.
        cause: String,
    },
    /// Time ran out.
    #[error("{host}: no time left for {phase}")]
    TimedOut {
        /// The host.
        host: String,
        /// What it was waited for.
        phase: &'static str,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("{host}: the connection broke: {cause}")]
    Broken {
        /// The host.
        host: String,
        /// What happened.
        cause: String,
    },
    /// The answer is larger than what is taken.
    #[error("{host}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// The most that is taken.
        limit: usize,
    },
}

impl NetFault {
    /// A short word for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RefusedAddress { .. } => "refused_address",
            Self::Dns { .. } => "dns",
            Self::NoAddress { .. } => "no_address",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::TimedOut { .. } => "timeout",
            Self::Broken { .. } => "broken",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// The fault behind an error of the HTTP client: ours if one caused it.
    pub(super) fn of(host: &str, error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return fault.clone();
            }
            cause = error.source();
        }
        Self::Broken {
            host: host.to_owned(),
            cause: words(error),
        }
    }

    /// This fault, or the TLS fault that broke the connection. A server that refuses our
    /// certificate says so only after its handshake (TLS 1.3).
    pub(super) fn with_alert(self, alert: Option<String>) -> Self {
        match (self, alert) {
            (Self::Broken { host, .. }, Some(cause)) => Self::Tls { host, cause },
            (fault, _) => fault,
        }
    }
}

/// The words of an error and its causes, each once.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text.truncate(
        text.char_indices()
            .nth(300)
            .map_or(text.len(), |(at, _)| at),
    );
    text
}
