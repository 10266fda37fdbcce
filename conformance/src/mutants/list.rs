//! The mutants: each rule that is broken, and the test that claims it.

use super::{Fault, Flaw, Mutant};
use crate::bench::Wire;

/// All of them.
pub(crate) fn all() -> Vec<Mutant> {
    let front = FRONT.iter().map(|(breaks, claimed_by, flaw)| Mutant {
        breaks,
        claimed_by,
        fault: Fault::Front(*flaw),
    });
    let wire = WIRE.iter().map(|(breaks, claimed_by, wire)| Mutant {
        breaks,
        claimed_by,
        fault: Fault::Wire(*wire),
    });
    front.chain(wire).collect()
}

type Row<F> = (&'static str, &'static str, F);

/// Between clients and the gateway.
const FRONT: [Row<Flaw>; 36] = [
    ("speaks TLS 1.2", "transport.tls12", Flaw::OldTls),
    ("speaks no HTTP/2", "transport.h2", Flaw::NoHttp2),
    (
        "answers are called text/plain",
        "transport.content-type",
        Flaw::ContentType,
    ),
    (
        "no X-AMTP-Version",
        "transport.version-header",
        Flaw::WithoutHeader("x-amtp-version"),
    ),
    (
        "no X-Request-ID",
        "transport.request-id",
        Flaw::WithoutHeader("x-request-id"),
    ),
    (
        "405 without Allow",
        "error.method",
        Flaw::WithoutHeader("allow"),
    ),
    ("200 for 202", "submit.accepted", Flaw::Status(202, 200)),
    (
        "400 for 413",
        "transport.size.declared",
        Flaw::Status(413, 400),
    ),
    (
        "takes what is no JSON by its type",
        "error.media-type",
        Flaw::Status(415, 202),
    ),
    (
        "takes local senders without a key",
        "submit.no-key",
        Flaw::Status(401, 202),
    ),
    (
        "takes mail for nobody",
        "submit.unknown",
        Flaw::Status(404, 202),
    ),
    ("is an open relay", "relay.open", Flaw::Status(403, 202)),
    (
        "takes what is malformed",
        "message.subject.long",
        Flaw::Status(400, 202),
    ),
    (
        "takes other content under a known key",
        "idempotency.conflict",
        Flaw::Status(409, 202),
    ),
    (
        "errors lack request_id",
        "error.not-found",
        Flaw::WithoutErrorMember("request_id"),
    ),
    (
        "errors lack details",
        "message.sender.missing",
        Flaw::WithoutErrorMember("details"),
    ),
    (
        "errors have another code",
        "submit.other-key",
        Flaw::Says("SENDER_CREDENTIAL_MISMATCH", "ACCESS_DENIED"),
    ),
    (
        "loses every tenth message",
        "delivery.none-lost",
        Flaw::Loses,
    ),
    ("delivers twice", "recipients.collapse", Flaw::Twice),
    ("mixes up the order of an inbox", "inbox.order", Flaw::Swaps),
    (
        "inboxes do not say that they go on",
        "inbox.pages",
        Flaw::NoCursor,
    ),
    (
        "lists lack their last entry",
        "list.newest-first",
        Flaw::Truncates,
    ),
    (
        "the status lacks updated_at",
        "status.shape",
        Flaw::WithoutMember("updated_at"),
    ),
    (
        "mail lacks its payload",
        "tolerance.null-filled",
        Flaw::WithoutMember("payload"),
    ),
    (
        "shows foreign inboxes as empty",
        "inbox.other-key",
        Flaw::ForeignInbox,
    ),
    (
        "acknowledges and keeps",
        "inbox.acknowledge",
        Flaw::LazyAcknowledge,
    ),
    (
        "mail is read from the beginning",
        "inbox.read",
        Flaw::Says("\"unread\"", "\"read\""),
    ),
    (
        "a repetition gets an id of its own",
        "idempotency.same",
        Flaw::FreshIds,
    ),
    (
        "forgets the key of a peer",
        "tolerance.repeated",
        Flaw::Forgets("idempotency_key"),
    ),
    ("rounds numbers", "message.numbers", Flaw::Rounds),
    (
        "forgets unknown members",
        "message.unknown-members",
        Flaw::Forgets("x_later"),
    ),
    (
        "believes whoever does not sign",
        "signature.unsigned",
        Flaw::Trusts,
    ),
    (
        "loses signatures",
        "signature.es256",
        Flaw::Forgets("signature"),
    ),
    ("ignores filters", "discovery.filters", Flaw::NoQuery),
    (
        "says delivered while it still tries",
        "answer.status",
        Flaw::AlwaysDelivered,
    ),
    (
        "confirms to have cancelled, and sends",
        "remote.cancel",
        Flaw::LazyCancel,
    ),
];

/// Between the gateway and its peers.
const WIRE: [Row<Wire>; 16] = [
    (
        "sends without User-Agent",
        "send.headers",
        Wire::WithoutHeader("user-agent"),
    ),
    (
        "sends without X-AMTP-Version",
        "send.headers",
        Wire::WithoutHeader("x-amtp-version"),
    ),
    (
        "sends without Content-Type",
        "send.post",
        Wire::WithoutHeader("content-type"),
    ),
    (
        "sends over an old transport",
        "send.post",
        Wire::OldTransport,
    ),
    (
        "sends without idempotency_key",
        "send.members",
        Wire::WithoutMember("idempotency_key"),
    ),
    (
        "sends without timestamp",
        "send.members",
        Wire::WithoutMember("timestamp"),
    ),
    (
        "sends ids that are no UUIDv7",
        "send.members",
        Wire::OtherId("message_id"),
    ),
    ("sends twice", "send.once", Wire::Twice),
    ("mixes up the order", "send.order", Wire::Swapped),
    (
        "forgets all recipients but the first",
        "send.all-recipients",
        Wire::FirstRecipient,
    ),
    ("alters the payload", "send.content", Wire::OtherPayload),
    (
        "alters what is signed",
        "signature.outgoing",
        Wire::OtherPayload,
    ),
    (
        "does not sign",
        "signature.outgoing",
        Wire::WithoutMember("signature"),
    ),
    (
        "takes every failure for an acceptance",
        "answer.503",
        Wire::NeverFails,
    ),
    (
        "does not heed Retry-After",
        "answer.retry-after",
        Wire::NoRetryAfter,
    ),
    (
        "tries for ever what is refused",
        "answer.404",
        Wire::NeverFinal,
    ),
];

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn every_mutant_is_claimed_by_a_test_that_exists() {
        let known: Vec<String> = crate::tests::all().into_iter().map(|it| it.id).collect();
        let mutants = all();
        assert!(mutants.len() >= 20);
        for mutant in mutants {
            assert!(
                known.iter().any(|id| id == mutant.claimed_by),
                "{}: there is no test {}",
                mutant.breaks,
                mutant.claimed_by
            );
        }
    }
}
