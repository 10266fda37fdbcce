//! What is wrong, as each dialect says it (A2A 1.0, sections 5.4, 9.5 and 11.6).
//!
//! JSON-RPC has a number, HTTP+JSON a status; both hold an `ErrorInfo` by which programs tell the
//! errors of A2A apart. 0.3 knows numbers down to -32007 only, 0.1 down to -32005.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::protocol::json::JsonFault;
use crate::task::{Dialect, Fault, Json};

/// The kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::endpoint::a2a) enum Kind {
    TaskNotFound,
    TaskNotCancelable,
    PushNotSupported,
    UnsupportedOperation,
    ContentTypeNotSupported,
    InvalidAgentResponse,
    ExtendedCardNotConfigured,
    ExtensionRequired,
    VersionNotSupported,
    Parse,
    InvalidRequest,
    MethodNotFound,
    InvalidParams,
    Internal,
    // What is no word of A2A: the status of HTTP tells it.
    Unauthenticated,
    Forbidden,
    NoAgent,
    TooSlow,
    TooLarge,
    MediaType,
    TooMany,
    Unavailable,
}

/// Number, status of HTTP, status of gRPC, reason.
type Row = (i32, u16, &'static str, &'static str);

impl Kind {
    /// All of them.
    #[cfg(test)]
    pub(in crate::endpoint::a2a) const ALL: [Self; 14] = [
        Self::TaskNotFound,
        Self::TaskNotCancelable,
        Self::PushNotSupported,
        Self::UnsupportedOperation,
        Self::ContentTypeNotSupported,
        Self::InvalidAgentResponse,
        Self::ExtendedCardNotConfigured,
        Self::ExtensionRequired,
        Self::VersionNotSupported,
        Self::Parse,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::Internal,
    ];

    #[rustfmt::skip]
    const fn row(self) -> Row {
        const BROKEN: &str = "FAILED_PRECONDITION";
        const ARGUMENT: &str = "INVALID_ARGUMENT";
        match self {
            Self::TaskNotFound => (-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND"),
            Self::TaskNotCancelable => (-32002, 400, BROKEN, "TASK_NOT_CANCELABLE"),
            Self::PushNotSupported => (-32003, 400, BROKEN, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
            Self::UnsupportedOperation => (-32004, 400, BROKEN, "UNSUPPORTED_OPERATION"),
            Self::ContentTypeNotSupported => (-32005, 400, ARGUMENT, "CONTENT_TYPE_NOT_SUPPORTED"),
            Self::InvalidAgentResponse => (-32006, 500, "INTERNAL", "INVALID_AGENT_RESPONSE"),
            Self::ExtendedCardNotConfigured => (-32007, 400, BROKEN, "EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
            Self::ExtensionRequired => (-32008, 400, BROKEN, "EXTENSION_SUPPORT_REQUIRED"),
            Self::VersionNotSupported => (-32009, 400, BROKEN, "VERSION_NOT_SUPPORTED"),
            Self::Parse => (-32700, 400, ARGUMENT, "PARSE_ERROR"),
            Self::InvalidRequest => (-32600, 400, ARGUMENT, "INVALID_REQUEST"),
            Self::MethodNotFound => (-32601, 404, "NOT_FOUND", "METHOD_NOT_FOUND"),
            Self::InvalidParams => (-32602, 400, ARGUMENT, "INVALID_PARAMS"),
            Self::Internal => (-32603, 500, "INTERNAL", "INTERNAL_ERROR"),
            Self::Unauthenticated => (-32600, 401, "UNAUTHENTICATED", "UNAUTHENTICATED"),
            Self::Forbidden => (-32600, 403, "PERMISSION_DENIED", "PERMISSION_DENIED"),
            Self::NoAgent => (-32600, 404, "NOT_FOUND", "AGENT_NOT_FOUND"),
            Self::TooSlow => (-32600, 408, "DEADLINE_EXCEEDED", "REQUEST_TIMEOUT"),
            Self::TooLarge => (-32600, 413, ARGUMENT, "REQUEST_TOO_LARGE"),
            Self::MediaType => (-32005, 415, ARGUMENT, "CONTENT_TYPE_NOT_SUPPORTED"),
            Self::TooMany => (-32603, 429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"),
            Self::Unavailable => (-32603, 503, "UNAVAILABLE", "UNAVAILABLE"),
        }
    }

    /// The number in a dialect.
    pub(in crate::endpoint::a2a) const fn number(self, dialect: Dialect) -> i32 {
        let (number, ..) = self.row();
        let lowest = match dialect {
            Dialect::V1 => -32_099,
            Dialect::V03 => -32_007,
            Dialect::V01 => -32_005,
        };
        if number > -32_100 && number < lowest {
            return -32_603;
        }
        number
    }

    /// The status of JSON-RPC over HTTP: that of HTTP where it is no word of A2A.
    pub(in crate::endpoint::a2a) const fn rpc_status(self) -> u16 {
        match self {
            Self::Unauthenticated
            | Self::Forbidden
            | Self::NoAgent
            | Self::TooSlow
            | Self::TooLarge
            | Self::MediaType
            | Self::TooMany
            | Self::Unavailable => self.status(),
            _ => 200,
        }
    }

    /// The status of HTTP+JSON.
    pub(in crate::endpoint::a2a) const fn status(self) -> u16 {
        self.row().1
    }
}

/// What is wrong, for a client. It says nothing that the client may not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::endpoint::a2a) struct A2aError {
    pub(in crate::endpoint::a2a) kind: Kind,
    /// When to come again, where that may help.
    pub(in crate::endpoint::a2a) retry_after: Option<Duration>,
    /// For the log only.
    pub(in crate::endpoint::a2a) cause: Option<Box<str>>,
    text: Box<str>,
    faults: Vec<Fault>,
    metadata: BTreeMap<&'static str, String>,
}

impl A2aError {
    pub(in crate::endpoint::a2a) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            retry_after: None,
            cause: None,
            text: text.into().into_boxed_str(),
            faults: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// The same with a word that programs read.
    pub(in crate::endpoint::a2a) fn with(
        mut self,
        name: &'static str,
        value: impl Into<String>,
    ) -> Self {
        self.metadata.insert(name, value.into());
        self
    }

    /// A task that is not there, or not the caller's.
    pub(in crate::endpoint::a2a) fn no_task(id: &str) -> Self {
        let id: String = id.chars().take(100).collect();
        Self::new(Kind::TaskNotFound, "there is no such task").with("taskId", id)
    }

    /// The member `error` of a JSON-RPC answer.
    pub(in crate::endpoint::a2a) fn object(&self, dialect: Dialect) -> Json {
        #[derive(Serialize)]
        struct Object<'a> {
            code: i32,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<Value>,
        }
        Json::of(&Object {
            code: self.kind.number(dialect),
            message: &self.text,
            data: match dialect {
                Dialect::V1 => Some(Value::Array(self.details())),
                // Its shape is free.
                Dialect::V03 | Dialect::V01 => self.older_details(),
            },
        })
    }

    /// The body of an HTTP+JSON answer.
    pub(in crate::endpoint::a2a) fn body(&self) -> Json {
        let (_, code, status, _) = self.kind.row();
        Json::of(&json!({"error": {
            "code": code,
            "status": status,
            "message": self.text,
            "details": self.details(),
        }}))
    }

    fn details(&self) -> Vec<Value> {
        let (.., reason) = self.kind.row();
        let mut details = vec![json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "a2a-protocol.org",
            "metadata": self.metadata,
        })];
        if !self.faults.is_empty() {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": self.violations(),
            }));
        }
        details
    }

    fn violations(&self) -> Vec<Value> {
        let told = |it: &Fault| json!({"field": it.field, "description": it.problem});
        self.faults.iter().map(told).collect()
    }

    fn older_details(&self) -> Option<Value> {
        if !self.faults.is_empty() {
            return Some(json!({ "fieldViolations": self.violations() }));
        }
        (!self.metadata.is_empty()).then(|| json!(self.metadata))
    }
}

impl From<Fault> for A2aError {
    fn from(fault: Fault) -> Self {
        Self {
            faults: vec![fault.clone()],
            ..Self::new(Kind::InvalidParams, fault.to_string())
        }
    }
}

impl From<JsonFault> for A2aError {
    fn from(fault: JsonFault) -> Self {
        Self::new(Kind::Parse, format!("the body is no JSON: {fault}"))
    }
}
