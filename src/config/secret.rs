//! Secrets that do not print themselves.

use std::fmt;
use std::sync::Arc;

/// A secret text. Neither `Debug` nor `Display` shows it; its memory is overwritten when the last
/// clone goes.
#[derive(Clone)]
pub struct Secret(Arc<Held>);

struct Held(Vec<u8>);

impl Secret {
    /// Keeps a text; the blanks and line ends around it are no part of the secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        let whole = Held(text.into_bytes());
        Self(Arc::new(Held(whole.0.trim_ascii().to_vec())))
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        std::str::from_utf8(&self.0.0).expect("it was a string")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from leaving out a write nobody reads.
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reveals_itself_only_when_asked() {
        let secret = Secret::new(" hidden key\n".into());
        assert_eq!(secret.reveal(), "hidden key");
        assert_eq!(format!("{secret} {secret:?}"), "(secret) Secret");
    }
}
