//! The A2A endpoint: agents of this gateway as A2A servers.
//!
//! A request comes through `endpoint/http`, which knows who is calling ([`Visitor`]) and reads the body.
//!
//! - `place` says by the path of a URL what is meant; `rpc` and `rest` read a request of either
//!   binding, by `dialect`, and write the answer (`reply`).
//! - `operations` does what is asked, the same for all bindings and dialects: `sending` makes a
//!   message of it, `waiting` and `following` tell what becomes of it.
//! - `card` makes the cards by which clients find agents, `cards` serves them.
//!
//! Whose a task is, is part of every question to the store: a task of others is not there.

mod calling;
mod cancelling;
mod card;
mod cards;
mod dialect;
mod faults;
mod following;
mod large;
mod letters;
mod operations;
mod place;
mod posting;
mod pushed;
mod reply;
mod rest;
mod rpc;
mod sending;
#[cfg(test)]
mod tests;
mod tools;
mod waiting;

pub use place::{Place, Wanted};
pub use pushed::old_task;
pub use tools::{A2a, Tools, Visitor};
