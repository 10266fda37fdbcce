//! The mark in a message: of which run and which lane it is, and its number there.

/// A mark of 19 digits and dashes, as it stands in a template.
pub(crate) const MARK: &str = r#""mark":"000-00000-000000000""#;
const BEFORE: &[u8] = br#""mark":""#;

/// One message among all of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) run: usize,
    pub(crate) lane: usize,
    pub(crate) number: u64,
}

impl Mark {
    /// Writes it over the mark that stands at the beginning of `place`.
    pub(crate) fn write(&self, place: &mut [u8]) {
        let lane = u64::try_from(self.lane).unwrap_or(u64::MAX);
        digits(&mut place[..3], u64::try_from(self.run).unwrap_or(u64::MAX));
        digits(&mut place[4..9], lane);
        digits(&mut place[10..19], self.number);
    }

    /// The mark that stands at the beginning of `place`.
    pub(crate) fn read(place: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(place.get(..19)?).ok()?;
        Some(Self {
            run: text.get(..3)?.parse().ok()?,
            lane: text.get(4..9)?.parse().ok()?,
            number: text.get(10..19)?.parse().ok()?,
        })
    }
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Where the first mark stands.
pub(crate) fn find(body: &[u8]) -> Option<usize> {
    let at = body.windows(BEFORE.len()).position(|it| it == BEFORE)?;
    Some(at + BEFORE.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_written_and_found_again() {
        let mut body = format!(r#"{{"payload":{{{MARK},"text":"x"}}}}"#).into_bytes();
        let mark = Mark {
            run: 12,
            lane: 345,
            number: 67_890,
        };
        let at = find(&body).unwrap();
        mark.write(&mut body[at..]);
        assert_eq!(Mark::read(&body[at..]), Some(mark));
        assert!(body.ends_with(br#"012-00345-000067890","text":"x"}}"#));
    }
}
