//! Secrets that do not print themselves.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A secret text. Neither `Debug` nor `Display` shows it; its memory is overwritten when the last
/// clone goes.
#[derive(Clone)]
pub struct Secret(Arc<Held>);

struct Held {
    text: Vec<u8>,
    file: Option<PathBuf>,
}

impl Secret {
    /// Keeps a text; the blanks and line ends around it are no part of the secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self::keep(text, None)
    }

    /// Keeps the text of a file.
    pub(super) fn of_file(text: String, file: PathBuf) -> Self {
        Self::keep(text, Some(file))
    }

    fn keep(text: String, file: Option<PathBuf>) -> Self {
        let whole = Held {
            text: text.into_bytes(),
            file: None,
        };
        let text = whole.text.trim_ascii().to_vec();
        Self(Arc::new(Held { text, file }))
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        std::str::from_utf8(&self.0.text).expect("it was a string")
    }

    /// The file it was read from, if it was one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.text.fill(0);
        // Keeps the compiler from leaving out a write nobody reads.
        std::hint::black_box(&self.text);
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
