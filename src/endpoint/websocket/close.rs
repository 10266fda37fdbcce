//! Why a connection ends: the codes of RFC 6455 and our own.

use std::borrow::Cow;

/// The gateway stops: connect again, here or to another gateway of the same domain.
pub(crate) const GOING_AWAY: u16 = 1001;
/// The rules of WebSocket were broken.
pub(crate) const PROTOCOL: u16 = 1002;
/// A kind of frame that is not spoken here.
pub(crate) const UNSUPPORTED: u16 = 1003;
/// Text that is not UTF-8, or compressed data that is none.
pub(crate) const DATA: u16 = 1007;
/// Too many faulty frames, or too many frames of no use.
pub(crate) const POLICY: u16 = 1008;
/// A frame larger than allowed.
pub(crate) const TOO_BIG: u16 = 1009;
/// The gateway failed.
pub(crate) const INTERNAL: u16 = 1011;
/// The gateway has no room at present.
pub(crate) const LATER: u16 = 1013;
/// No credential came, or no good one.
pub(crate) const UNAUTHENTICATED: u16 = 4401;
/// The credential is good, but not for this.
pub(crate) const FORBIDDEN: u16 = 4403;
/// The other side was silent, or did not take what was sent, for too long.
pub(crate) const TIMED_OUT: u16 = 4408;
/// The session was ended: by the operator, or because its agent or its key is gone.
pub(crate) const ENDED: u16 = 4410;
/// The agent has as many sessions as it may.
pub(crate) const TOO_MANY: u16 = 4429;

/// A reason has so many bytes at most: a control frame has 125.
const LONGEST: usize = 123;

/// The end of a connection, in words for the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    /// Nothing where the other side gave none.
    pub(crate) code: Option<u16>,
    pub(crate) reason: Cow<'static, str>,
}

impl Close {
    pub(crate) fn of(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: Some(code),
            reason: reason.into(),
        }
    }

    /// The payload of the frame.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let Some(code) = self.code else {
            return Vec::new();
        };
        let mut cut = self.reason.len().min(LONGEST);
        while !self.reason.is_char_boundary(cut) {
            cut -= 1;
        }
        [&code.to_be_bytes(), &self.reason.as_bytes()[..cut]].concat()
    }
}

/// Against the rules of WebSocket.
pub(crate) fn protocol(reason: &'static str) -> Close {
    Close::of(PROTOCOL, reason)
}

/// The answer to a close frame with this payload: the same again.
pub(crate) fn answer(payload: &[u8]) -> Result<Close, Close> {
    let (code, reason) = match payload {
        [] => {
            return Ok(Close {
                code: None,
                reason: Cow::Borrowed(""),
            });
        }
        [_] => return Err(protocol("half a close code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let Ok(reason) = std::str::from_utf8(reason) else {
        return Err(Close::of(DATA, "the reason is not UTF-8"));
    };
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Close::of(code, reason.to_owned())),
        _ => Err(protocol("no such close code")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_answered_as_the_rfc_says() {
        let with = |code: u16| code.to_be_bytes().to_vec();
        type Row = (Vec<u8>, Result<Option<u16>, u16>);
        let table: [Row; 12] = [
            (Vec::new(), Ok(None)),
            (vec![3], Err(PROTOCOL)),
            (with(1000), Ok(Some(1000))),
            (with(1001), Ok(Some(1001))),
            (with(1004), Err(PROTOCOL)),
            (with(1005), Err(PROTOCOL)),
            (with(1006), Err(PROTOCOL)),
            (with(1015), Err(PROTOCOL)),
            (with(999), Err(PROTOCOL)),
            (with(3000), Ok(Some(3000))),
            (with(5000), Err(PROTOCOL)),
            ([with(1000), vec![0xff]].concat(), Err(DATA)),
        ];
        for (payload, expected) in table {
            let found = answer(&payload)
                .map(|it| it.code)
                .map_err(|it| it.code.unwrap());
            assert_eq!(found, expected, "{payload:?}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = Close::of(GOING_AWAY, "ä".repeat(100));
        let payload = close.payload();
        assert!(payload.len() <= 125, "{}", payload.len());
        assert!(std::str::from_utf8(&payload[2..]).is_ok());
    }
}
