//! Behaviour through public doors: one file a behaviour, real gateways on free ports.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod layers;
