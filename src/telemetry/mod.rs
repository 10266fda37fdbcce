//! What the process tells about itself: log lines, metrics, and the board of its workers.
//!
//! - Log lines go to standard error or into a file, one a line. In JSON every field keeps its dotted name at the
//!   top level (`request.id`, `message.id`); the fields of the surrounding spans stand beside them.
//! - [`Metrics`] are counted through typed methods and shown as OpenMetrics text.
//! - On the [`Board`] every worker keeps one short line about what it does.

mod admission_metrics;
mod alerts;
mod board;
mod gauges;
mod issuer_metrics;
mod live_metrics;
mod log;
mod metrics;
mod policy_metrics;
mod queue_metrics;
mod schema_metrics;
mod signature_metrics;
mod standings;
mod task_metrics;

pub use admission_metrics::{AdmissionMetrics, ClassMetrics};
pub use alerts::{Alert, Alerts, Beyond, Waiting};
pub use board::{Board, Post, Status, WorkerState};
pub use issuer_metrics::IssuerMetrics;
pub use live_metrics::LiveMetrics;
pub use log::{LogFormat, LogOptions, TelemetryFault, start, start_into};
pub use metrics::{HttpAnswer, METRICS_CONTENT_TYPE, Metrics, Raised, RefusedConnection};
pub use policy_metrics::{PolicyCounter, PolicyMetrics, ReloadOutcome};
pub use queue_metrics::{QueueGauges, QueueMetrics};
pub use schema_metrics::SchemaMetrics;
pub use signature_metrics::SignatureMetrics;
pub use standings::{Standing, Standings, UnderWay};
pub use task_metrics::{PushOutcome, TaskEnd, TaskMetrics};
