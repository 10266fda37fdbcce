//! The names of JSON-RPC methods.

use super::{Operation, v01, v1, v03};
use crate::task::{Dialect, Fault, Object};

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::endpoint::a2a) enum Method {
    Send,
    Stream,
    Get,
    List,
    Cancel,
    Subscribe,
    PutPush,
    FindPush,
    ListPushes,
    DeletePush,
    Card,
}

/// Who names a method so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::endpoint::a2a) enum Speaker {
    /// A client of this dialect.
    Of(Dialect),
    /// A client of 0.3 or of 0.1: the dialect of the task tells, and 0.3 where there is none.
    Older,
}

impl Speaker {
    /// Whether it speaks 1.0.
    pub(in crate::endpoint::a2a) const fn is_v1(self) -> bool {
        matches!(self, Self::Of(Dialect::V1))
    }
}

const METHODS: [(&str, Method, Speaker); 26] = {
    use Dialect::{V01, V1, V03};
    use Method::{
        Cancel, Card, DeletePush, FindPush, Get, List, ListPushes, PutPush, Send, Stream, Subscribe,
    };
    use Speaker::{Of, Older};
    [
        ("SendMessage", Send, Of(V1)),
        ("SendStreamingMessage", Stream, Of(V1)),
        ("GetTask", Get, Of(V1)),
        ("ListTasks", List, Of(V1)),
        ("CancelTask", Cancel, Of(V1)),
        ("SubscribeToTask", Subscribe, Of(V1)),
        ("CreateTaskPushNotificationConfig", PutPush, Of(V1)),
        ("GetTaskPushNotificationConfig", FindPush, Of(V1)),
        ("ListTaskPushNotificationConfigs", ListPushes, Of(V1)),
        ("DeleteTaskPushNotificationConfig", DeletePush, Of(V1)),
        ("GetExtendedAgentCard", Card, Of(V1)),
        ("message/send", Send, Of(V03)),
        ("message/stream", Stream, Of(V03)),
        ("tasks/pushNotificationConfig/set", PutPush, Of(V03)),
        ("tasks/pushNotificationConfig/get", FindPush, Of(V03)),
        ("tasks/pushNotificationConfig/list", ListPushes, Of(V03)),
        ("tasks/pushNotificationConfig/delete", DeletePush, Of(V03)),
        ("agent/getAuthenticatedExtendedCard", Card, Of(V03)),
        ("agent/authenticatedExtendedCard", Card, Of(V03)),
        ("tasks/send", Send, Of(V01)),
        ("tasks/sendSubscribe", Stream, Of(V01)),
        ("tasks/pushNotification/set", PutPush, Of(V01)),
        ("tasks/pushNotification/get", FindPush, Of(V01)),
        ("tasks/get", Get, Older),
        ("tasks/cancel", Cancel, Older),
        ("tasks/resubscribe", Subscribe, Older),
    ]
};

/// The operation that a name means, and who names it so.
pub(in crate::endpoint::a2a) fn find(name: &str) -> Option<(Method, Speaker)> {
    let mut methods = METHODS.iter();
    let (_, method, speaker) = methods.find(|(other, ..)| *other == name)?;
    Some((*method, *speaker))
}

/// Reads the parameters of a method. `fresh` is the id of a message that has none, in 0.1.
pub(in crate::endpoint::a2a) fn read(
    (method, dialect): (Method, Dialect),
    parameters: &Object<'_>,
    fresh: &str,
) -> Result<Operation, Fault> {
    match dialect {
        Dialect::V1 => v1::read(method, parameters),
        Dialect::V03 => v03::read(method, parameters),
        Dialect::V01 => v01::read(method, parameters, fresh),
    }
}
