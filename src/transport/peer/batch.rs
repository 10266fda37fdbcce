//! Many messages in one request: how they are written, and how the answer is read.
//!
//! A batch is NDJSON, one message a line. The answer has one line each, in their order:
//! `{"status":202,"receipt":{…}}` or `{"status":503,"error":{…},"retry_after":2}`. Each line is judged
//! like an answer of its own; `retry_after` is what the header of that would say, in seconds.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;

use super::super::Load;
use super::super::after::LONGEST;
use crate::protocol::json::scan_object;
use crate::protocol::wire::Body;

/// The answer to one message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its status.
    pub(super) status: StatusCode,
    /// What the body of an answer of its own would be.
    pub(super) body: Bytes,
    /// The pause it asks for.
    pub(super) retry_after: Option<Duration>,
}

/// What a peer takes in one batch.
const MOST_BYTES: usize = 4 * 1024 * 1024;
const MOST_MESSAGES: usize = 200;
/// What ids, times and a signature may add to a message, in bytes.
const MARGIN: usize = 1_536;
/// Smaller batches are not worth the effort of compressing.
const WORTHWHILE: usize = 4 * 1024;
/// So many bytes are compressed before others get their turn.
const STRETCH: usize = 64 * 1024;

/// What may go into one batch.
pub(super) const LOAD: Load = Load {
    messages: MOST_MESSAGES,
    bytes: MOST_BYTES - MOST_MESSAGES * MARGIN,
};

/// The lines of a batch.
pub(super) fn lines<'a>(letters: impl Iterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut out = Vec::new();
    for letter in letters {
        let start = out.len();
        out.extend_from_slice(letter);
        // A message may be written over several lines; within JSON these are blanks like others.
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        out.push(b'\n');
    }
    out
}

/// The same, compressed with gzip; `None` if it is too small to matter or would not get smaller.
pub(super) async fn compressed(lines: &[u8]) -> Option<Vec<u8>> {
    if lines.len() <= WORTHWHILE {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for part in lines.chunks(STRETCH) {
        encoder.write_all(part).ok()?;
        tokio::task::yield_now().await;
    }
    let body = encoder.finish().ok()?;
    (body.len() < lines.len()).then_some(body)
}

/// Whether the peer does not take batches, as far as a whole answer tells: then each message is
/// asked for alone and gets its own answer.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 425 | 429 => false,
        400..=499 | 501 => true,
        _ => false,
    }
}

/// Whether one message may have broken the whole batch: then each goes alone for a time.
pub(super) fn may_be_one_message(status: StatusCode) -> bool {
    status.is_server_error() && !matches!(status.as_u16(), 502..=504)
}

/// The lines of an answer; `None` for one that cannot be read. There may be fewer than asked for.
pub(super) fn answers(body: &Bytes) -> Vec<Option<Line>> {
    let is_blank = |line: &&[u8]| line.trim_ascii().is_empty();
    let lines = body.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !is_blank(line)).take(MOST_MESSAGES);
    lines.map(answer).collect()
}

fn answer(line: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(line).ok()?;
    let (mut status, mut receipt, mut error, mut pause) = (None, None, None, None);
    for (name, place) in scan_object(line).ok()? {
        let value = &text[place];
        match &*name {
            "status" => status = value.parse().ok(),
            "receipt" => receipt = Some(value),
            "error" => error = Some(value),
            "retry_after" => pause = value.parse().ok(),
            _ => {}
        }
    }
    let status = StatusCode::from_u16(status?).ok()?;
    let body = match (receipt, error) {
        (Some(receipt), _) if status.is_success() => Bytes::copy_from_slice(receipt.as_bytes()),
        (_, Some(error)) => {
            let mut body = Body::with_capacity(error.len() + 16);
            body.member("error", error);
            body.finish().into()
        }
        _ => Bytes::new(),
    };
    let retry_after = pause.map(|seconds| Duration::from_secs(seconds).min(LONGEST));
    Some(Line {
        status,
        body,
        retry_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    #[test]
    fn a_message_is_one_line_however_it_was_written() {
        let letters = [
            Bytes::from("{\n \"a\":\r\n1}"),
            Bytes::from(r#"{"b":"\n"}"#),
        ];
        let lines = lines(letters.iter());
        assert_eq!(lines, b"{  \"a\":  1}\n{\"b\":\"\\n\"}\n");
    }

    #[tokio::test]
    async fn a_batch_is_compressed_when_that_pays() {
        let large = b"{\"a\":1}\n".repeat(40_000);
        let packed = compressed(&large).await.unwrap();
        assert!(packed.len() < large.len() / 10);
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, large);
        assert_eq!(compressed(&large[..WORTHWHILE]).await, None);
        let noise: Vec<u8> = (0..600)
            .flat_map(|_| *uuid::Uuid::new_v4().as_bytes())
            .collect();
        assert_eq!(compressed(&noise).await, None);
    }

    #[test]
    fn the_lines_of_an_answer_are_read_one_by_one() {
        let body = concat!(
            r#"{"status":202,"receipt":{"message_id":"a", "n":1}}"#,
            "\r\n\n",
            r#"{"error":{"code":"AGENT_UNKNOWN"},"status":404}"#,
            "\nnonsense\n",
            r#"{"status":99}"#,
            "\n",
            r#"{"status":"202"}"#,
            "\n",
            r#"{"status":503}"#,
            "\n[1]\n",
            r#"{"status":400,"receipt":{}}"#,
        );
        let line = |status, body: &'static str| {
            Some(Line {
                status: StatusCode::from_u16(status).unwrap(),
                body: Bytes::from(body),
                retry_after: None,
            })
        };
        assert_eq!(
            answers(&Bytes::from(body)),
            [
                line(202, r#"{"message_id":"a", "n":1}"#),
                line(404, r#"{"error":{"code":"AGENT_UNKNOWN"}}"#),
                None,
                None,
                None,
                line(503, ""),
                None,
                line(400, ""),
            ]
        );
        assert_eq!(answers(&Bytes::new()), []);
        let waits = |value: &str| {
            let body = format!(r#"{{"status":503,"retry_after":{value}}}"#);
            answers(&body.into())[0].clone().unwrap().retry_after
        };
        assert_eq!(waits("3"), Some(Duration::from_secs(3)));
        assert_eq!(waits("18446744073709551615"), Some(LONGEST));
        for value in ["null", "-1", "1.5", "\"3\"", "{}"] {
            assert_eq!(waits(value), None, "{value}");
        }
        assert_eq!(answers(&Bytes::from("x\n".repeat(9_000))).len(), 200);
    }

    #[test]
    fn a_peer_that_takes_no_batches_is_told_from_one_in_trouble() {
        for status in [400, 401, 403, 404, 405, 413, 415, 501] {
            assert!(
                is_refusal(StatusCode::from_u16(status).unwrap()),
                "{status}"
            );
        }
        for status in [200, 202, 302, 408, 425, 429, 500, 502, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(!is_refusal(status), "{status}");
            assert_eq!(may_be_one_message(status), status == 500, "{status}");
        }
    }
}
