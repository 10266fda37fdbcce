//! Reading a mail.

use super::mail::{Mail, MailFault, MailLimits};

/// Reads a mail.
///
/// # Errors
/// It goes over one of the limits or has no header.
pub fn parse(raw: &[u8], limits: &MailLimits) -> Result<Mail, MailFault> {
    if raw.len() > limits.size {
        return Err(MailFault::Size(limits.size));
    }
    Err(MailFault::NoHeader)
}
