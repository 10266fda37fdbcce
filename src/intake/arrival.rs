//! What endpoints hand in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;

use crate::auth::Presented;
use crate::store::Succession;

/// A message as an endpoint received it.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The body.
    pub raw: Bytes,
    /// What the caller showed.
    pub presented: Presented,
    /// Where it came from.
    pub remote: IpAddr,
    /// The chain of certificates the client showed; empty where it showed none.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// The request it came in.
    pub request_id: String,
    /// Until when finding out about the sender may take, by the monotonic clock.
    pub verify_by: Duration,
    /// Whether a gateway that sends it reads which recipients are refused.
    pub reads_answers: bool,
    /// The batch it came in.
    pub succession: Option<Succession>,
}

/// How long finding out about the senders of one request may take.
pub const VERIFICATION: Duration = Duration::from_secs(4);
