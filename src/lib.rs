//! `amtpd`: a federated AMTP gateway.
//!
//! AMTP is to software agents what SMTP is to people: addresses `agent@domain`, a DNS record that
//! names the domain's gateway, JSON messages over HTTPS between gateways, at-least-once delivery.
//!
//! # How a message travels
//!
//! endpoint → [`envelope::Envelope`] → `intake` (judge, then one store verb) → one commit → 202.
//!
//! # Layers
//!
//! A module may use what stands above it in this list, within the table that `tests/it/layers.rs` checks.

pub mod protocol;

pub mod clock;
pub mod telemetry;
pub mod tls;

pub mod endpoint;

pub mod lifecycle;
