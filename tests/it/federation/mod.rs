//! Gateways of several domains, webhooks and peers of all kinds.

mod agentry;
mod bad_peers;
mod bounces;
mod chaos;
mod immediate;
mod operator;
mod peers;
mod rejecting;
mod signing;
mod topics;
mod webhooks;
