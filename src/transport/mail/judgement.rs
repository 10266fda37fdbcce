//! What came of handing a mail over: pure.
//!
//! - 4xx is for now, 5xx for good, whatever the step of the transaction; 421 concerns the whole server.
//! - What breaks is for now. After the mail was handed over and before the last answer nobody knows
//!   whether it arrived; it is sent again under the same `Message-ID`.
//! - A mailbox that does not exist is told from all other refusals by the enhanced code, or by a 550 to
//!   RCPT that has none.

use super::super::{Fault, Outcome, Trouble};
use super::dialogue::{Fault as Heard, Step};
use super::reply::Reply;
use crate::protocol::ErrorCode;
use crate::transport::text::trouble;

/// What a refusal says of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mailbox {
    /// Nothing.
    Unknown,
    /// There is none, or it takes nothing any more: no further mail should go there.
    Gone,
}

/// The outcome of a transaction at `server`.
pub(super) fn judge(heard: Result<Reply, Heard>, server: &str) -> (Outcome, Mailbox) {
    let (step, reply) = match heard {
        Ok(_) => return (Outcome::Delivered { reply: None }, Mailbox::Unknown),
        Err(Heard::Refused(step, reply)) => (step, reply),
        Err(Heard::Broken(step, cause)) => {
            let words = format!("{server} at {}: {cause}", step.as_str());
            let fault = match step {
                Step::Content | Step::End => Fault::Message,
                _ => Fault::Destination,
            };
            let trouble = trouble(ErrorCode::TemporaryFailure, fault, &words);
            return (Outcome::Deferred(trouble), Mailbox::Unknown);
        }
        Err(Heard::TooLarge { size, limit }) => {
            let words = format!("the mail has {size} bytes, {server} takes up to {limit}");
            let trouble = trouble(ErrorCode::MessageTooLarge, Fault::Message, &words);
            return (Outcome::Failed(trouble), Mailbox::Unknown);
        }
    };
    let words = format!("{server} answers to {}: {reply}", step.as_str());
    if reply.is_permanent() && in_transaction(step) {
        let (code, mailbox) = refusal(step, &reply);
        return (
            Outcome::Failed(trouble(code, Fault::Message, &words)),
            mailbox,
        );
    }
    (
        Outcome::Deferred(later(step, &reply, &words)),
        Mailbox::Unknown,
    )
}

/// Before a transaction a refusal concerns us, not the mail: that may be put in order.
const fn in_transaction(step: Step) -> bool {
    matches!(
        step,
        Step::Sender | Step::Recipient | Step::Content | Step::End
    )
}

fn later(step: Step, reply: &Reply, words: &str) -> Trouble {
    let fault = match step {
        _ if reply.code == 421 => Fault::Destination,
        Step::Recipient | Step::Content | Step::End | Step::Sender => Fault::Message,
        _ => Fault::Destination,
    };
    let code = match reply.enhanced.map(|it| (it.subject, it.detail)) {
        Some((7, _)) | None if reply.code == 421 => ErrorCode::RecipientUnavailable,
        Some((2, 2)) => ErrorCode::MailboxFull,
        _ => ErrorCode::TemporaryFailure,
    };
    trouble(code, fault, words)
}

/// What a refusal for good says.
fn refusal(step: Step, reply: &Reply) -> (ErrorCode, Mailbox) {
    use ErrorCode::{MessageTooLarge, PolicyDenied, RecipientNotFound, RecipientUnavailable};
    let to_recipient = step == Step::Recipient;
    match reply.enhanced.map(|it| (it.subject, it.detail)) {
        Some((1, 1 | 3 | 6 | 10)) if to_recipient => (RecipientNotFound, Mailbox::Gone),
        Some((1, 2..=4)) => (RecipientNotFound, Mailbox::Unknown),
        Some((2, 1)) if to_recipient => (RecipientUnavailable, Mailbox::Gone),
        Some((2, 3) | (3, 4)) => (MessageTooLarge, Mailbox::Unknown),
        Some((7, _)) => (PolicyDenied, Mailbox::Unknown),
        None if reply.code == 552 => (MessageTooLarge, Mailbox::Unknown),
        None if reply.code == 550 && to_recipient => (RecipientNotFound, Mailbox::Unknown),
        _ => (RecipientUnavailable, Mailbox::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::mail::reply::Reading;

    fn reply(line: &str) -> Reply {
        Reading::default().line(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn refusals_for_good_say_of_what_and_whether_to_write_again() {
        use ErrorCode::{MessageTooLarge, PolicyDenied, RecipientNotFound, RecipientUnavailable};
        for (step, line, code, mailbox) in [
            (
                Step::Recipient,
                "550 5.1.1 no such user",
                RecipientNotFound,
                Mailbox::Gone,
            ),
            (
                Step::Recipient,
                "550 5.1.10 null MX",
                RecipientNotFound,
                Mailbox::Gone,
            ),
            (
                Step::Recipient,
                "550 5.2.1 disabled",
                RecipientUnavailable,
                Mailbox::Gone,
            ),
            (
                Step::Recipient,
                "550 no",
                RecipientNotFound,
                Mailbox::Unknown,
            ),
            (
                Step::Recipient,
                "552 5.2.2 full",
                RecipientUnavailable,
                Mailbox::Unknown,
            ),
            (
                Step::Recipient,
                "554 5.7.1 relay denied",
                PolicyDenied,
                Mailbox::Unknown,
            ),
            (
                Step::Sender,
                "550 5.1.1 who?",
                RecipientUnavailable,
                Mailbox::Unknown,
            ),
            (
                Step::Sender,
                "552 5.3.4 too big",
                MessageTooLarge,
                Mailbox::Unknown,
            ),
            (Step::End, "552 too big", MessageTooLarge, Mailbox::Unknown),
            (
                Step::End,
                "554 5.6.0 no",
                RecipientUnavailable,
                Mailbox::Unknown,
            ),
            (
                Step::Content,
                "503 5.5.1 order",
                RecipientUnavailable,
                Mailbox::Unknown,
            ),
        ] {
            let heard = Err(Heard::Refused(step, reply(line)));
            let (outcome, said) = judge(heard, "mx.test (192.0.2.1:25)");
            let Outcome::Failed(trouble) = outcome else {
                panic!("{line}: {outcome:?}");
            };
            assert_eq!((trouble.code, said), (code, mailbox), "{line}");
            assert!(trouble.text.ends_with(line), "{}", trouble.text);
            assert_eq!(trouble.fault, Fault::Message);
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for (step, line, fault) in [
            (Step::Recipient, "450 4.2.0 greylisted", Fault::Message),
            (Step::Recipient, "452 4.2.2 full", Fault::Message),
            (Step::Recipient, "421 4.3.2 going down", Fault::Destination),
            (Step::Sender, "451 4.3.0 later", Fault::Message),
            (Step::End, "421 4.4.2 bye", Fault::Destination),
            (Step::Content, "451 later", Fault::Message),
            (Step::Greeting, "554 not you", Fault::Destination),
            (Step::Hello, "550 5.7.1 not you", Fault::Destination),
            (Step::Login, "535 5.7.8 wrong password", Fault::Destination),
        ] {
            let (outcome, said) = judge(Err(Heard::Refused(step, reply(line))), "mx.test");
            let Outcome::Deferred(trouble) = outcome else {
                panic!("{line}: {outcome:?}");
            };
            assert_eq!((trouble.fault, said), (fault, Mailbox::Unknown), "{line}");
        }
        for (step, fault) in [
            (Step::Sender, Fault::Destination),
            (Step::Content, Fault::Message),
            (Step::End, Fault::Message),
        ] {
            let broken = Err(Heard::Broken(step, "it closed the connection".to_owned()));
            let (outcome, _) = judge(broken, "mx.test");
            assert!(
                matches!(&outcome, Outcome::Deferred(it) if it.fault == fault),
                "{step:?}"
            );
        }
    }

    #[test]
    fn a_mail_that_is_too_large_never_goes() {
        let large = Err(Heard::TooLarge {
            size: 11,
            limit: 10,
        });
        let (outcome, _) = judge(large, "mx.test");
        let Outcome::Failed(trouble) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            trouble.text,
            "the mail has 11 bytes, mx.test takes up to 10"
        );
    }
}
