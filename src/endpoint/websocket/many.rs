//! Frames about topics and broadcasts, done.

use bytes::Bytes;
use uuid::Uuid;

use super::acts::{Peer, Tools, complaint};
use super::frames::{Audience, Ref, ServerFrame, Subscribe};
use crate::endpoint::http::{ApiError, ReceiptView};
use crate::envelope::Principal;
use crate::protocol::{Address, ErrorCode};
use crate::topics::{Broadcasting, Caller, Publishing, Subscribing, TopicFault};

impl Tools {
    /// Subscribes an agent; unless it is durable, the subscription ends with the session.
    pub(crate) async fn subscribe(
        self,
        (by, session): (Principal, i64),
        (asked, reference): (Subscribe, Ref),
    ) -> Result<ServerFrame, ServerFrame> {
        let refused = |error: &ApiError| complaint(reference.clone(), error);
        let Principal::Agent { address, .. } = &by else {
            return Err(refused(&ApiError::new(ErrorCode::AccessDenied)));
        };
        let request = Subscribing {
            topic: asked.topic.clone(),
            subscriber: address.clone(),
            session: (!asked.durable).then_some(session),
            filter: asked.filter,
            from: asked.from.map(Into::into),
        };
        match self.topics.subscribe(&by, request).await {
            Ok(subscribed) => Ok(ServerFrame::Subscribed {
                reference,
                topic: asked.topic.to_string(),
                subscription: subscribed.id,
                state: subscribed.state.as_str(),
            }),
            Err(fault) => Err(refused(&fault.into())),
        }
    }

    /// Ends one subscription, or all of the agent to a topic.
    pub(crate) async fn unsubscribe(
        self,
        by: Principal,
        (topic, subscription): (Address, Option<Uuid>),
        reference: Ref,
    ) -> Result<Option<ServerFrame>, ServerFrame> {
        let ended = self.topics.unsubscribe(&by, &topic, subscription).await;
        match ended {
            Ok(true) => Ok(reference.map(|reference| ServerFrame::Done { reference })),
            Ok(false) => {
                let error = ApiError::new(ErrorCode::NotFound)
                    .message("There is no such subscription of this agent.");
                Err(complaint(reference, &error))
            }
            Err(fault) => Err(complaint(reference, &fault.into())),
        }
    }

    /// Publishes to a topic.
    pub(crate) async fn publish(
        self,
        who: (Principal, Peer),
        (topic, content): (Address, Bytes),
        (expected_version, reference): (Option<i64>, Ref),
    ) -> ServerFrame {
        let publishing = Publishing {
            topic,
            content,
            expected_version,
            by: self.caller(who),
        };
        match self.topics.publish(publishing).await {
            Ok(published) => ServerFrame::Receipt {
                reference,
                receipt: ReceiptView::of(published.receipt),
                version: published.version,
            },
            Err(fault) => refusal(reference, fault),
        }
    }

    /// Sends to all agents of the domain.
    pub(crate) async fn broadcast(
        self,
        who: (Principal, Peer),
        (content, audience): (Bytes, Audience),
        reference: Ref,
    ) -> ServerFrame {
        let broadcasting = Broadcasting {
            content,
            audience: audience.into(),
            by: self.caller(who),
        };
        match self.topics.broadcast(broadcasting).await {
            Ok(receipt) => ServerFrame::Receipt {
                reference,
                receipt: ReceiptView::of(receipt),
                version: None,
            },
            Err(fault) => refusal(reference, fault),
        }
    }

    fn caller(&self, (principal, peer): (Principal, Peer)) -> Caller {
        Caller {
            principal,
            remote: peer.remote,
            request_id: self.clock.mint_v7().to_string(),
            entry: None,
        }
    }
}

fn refusal(reference: Ref, fault: TopicFault) -> ServerFrame {
    complaint(reference, &fault.into())
}
