//! What the tests stand on is tested itself.

mod agentry;
mod dns;
mod http2;
mod netns;
mod peer;
mod pki;
mod postgres;
mod relay;
mod webhook;
