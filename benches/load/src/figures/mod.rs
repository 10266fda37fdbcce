//! The figures. Each starts what it needs, measures it in pairs with its ceiling, finds every
//! message again, and stops all it started.

pub(crate) mod accept;
pub(crate) mod between;
pub(crate) mod immediate;
pub(crate) mod inbox;
pub(crate) mod judged;
pub(crate) mod postgres;
pub(crate) mod restart;
pub(crate) mod webhook;
