//! `amtpd`: a federated AMTP gateway.
//!
//! AMTP is to software agents what SMTP is to people: addresses `agent@domain`, a DNS record that
//! names the domain's gateway, JSON messages over HTTPS between gateways, at-least-once delivery.
//!
//! # How a message travels
//!
//! In: endpoint → [`envelope::Envelope`] → [`intake`] (judge, then one store verb) → one commit → 202.
//!
//! Out: [`queue`] (window → lane → destination) → [`transport`] → one outcome a recipient → settled, with
//! the bounces and replies that brings forth, in one commit. Where a foreign domain's gateway is,
//! [`discovery`] asks the DNS. Who waits for a reply waits in [`live`].
//!
//! `docs/architecture.md` tells it at length.
//!
//! # Layers
//!
//! A module may use what stands above it in this list, within the table that `tests/it/layers.rs` checks.

pub mod protocol;

pub mod admission;
pub mod clock;
pub mod config;
pub mod envelope;
pub mod events;
pub mod net;
pub mod telemetry;
pub mod tls;

pub mod store;

pub mod discovery;
pub mod mime;
pub mod policy;
pub mod schema;
pub mod task;

pub mod auth;

pub mod intake;
pub mod live;
pub mod topics;
pub mod transport;

pub mod queue;

pub mod endpoint;

pub mod cli;
pub mod gateway;
pub mod lifecycle;
