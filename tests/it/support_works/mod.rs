//! What the tests stand on is tested itself.

mod dns;
mod pki;
