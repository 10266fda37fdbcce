//! A message as a mail.

use super::letter::{Letter, RenderFault, Rendered};

/// Makes the mail that carries a message.
///
/// # Errors
/// An address cannot stand in a mail.
pub fn render(letter: &Letter<'_>) -> Result<Rendered, RenderFault> {
    Err(RenderFault::Address(letter.recipient.clone()))
}
