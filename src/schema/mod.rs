//! Schemas of payloads: which there are, and whether a payload fits (AMTP 1.0, section 6).
mod branches;
mod compat;
mod compiled;
mod document;

pub use compat::{Break, Mode, ModeFault, compare};
pub use compiled::{MOST_FAULTS, SchemaFault};
pub use document::{Document, DocumentFault, MOST_BYTES};
