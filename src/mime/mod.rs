//! Mail and messages: what a message looks like as a mail, and what a mail says as a message.
//!
//! Values and functions only: no I/O, no clock, no randomness. [`render`] makes the mail that carries
//! a message to people (AMTP 1.0, section 11). [`parse`] reads any mail within bounds; [`compose`]
//! makes an AMTP message of it, and [`rebuild`] takes the original message out of a mail that another
//! bridge made, if it agrees with whoever was authenticated. [`mapping`] says which addresses can
//! travel between both worlds.
//!
//! Everything read here is hostile. A mail is split into parts by a walk of our own that is bounded in
//! bytes, parts and depth; header fields, charsets and encodings are read by `mail-parser`. What a
//! mail says wrongly (a charset nobody knows, a date that is none, broken base64) never loses the
//! mail; only its bounds do.

mod convert;
mod letter;
mod mail;
pub mod mapping;
mod parse;
mod render;

pub use convert::{
    Agreement, Composition, EMAIL_SCHEMA, FileReference, RebuildFault, compose, rebuild,
};
pub use letter::{Face, Letter, RenderFault, Rendered};
pub use mail::{
    Action, AmtpPart, AutoKind, Complaint, DeliveryReport, Mail, MailFault, MailLimits, Mailbox,
    Part, PartKind, ReportedRecipient,
};
pub use parse::parse;
pub use render::render;
