//! Log lines: who writes them, in which form, from which level on.

use std::fmt;
use std::fs::File;
use std::io::IsTerminal;
use std::sync::Arc;

use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;

/// Crates whose lower levels tell about bytes and frames; a plain level does not open them.
const CHATTY: &str = "h2=info,hyper=info,hyper_util=info,rustls=info,sqlx=warn,hickory_proto=warn";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object a line, for programs.
    #[default]
    Json,
    /// For people.
    Text,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The form.
    pub format: LogFormat,
    /// A level (`info`), or directives such as `info,amtpd::store=debug`.
    pub level: String,
}

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryFault {
    /// The level is neither a level nor a list of directives.
    #[error("{level:?} is no log level: {reason}")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process has a log already.
    #[error("the log is started already")]
    Started,
}

/// Starts the log of this process, on standard error; panics are logged as well.
///
/// # Errors
/// When the level is not understood, or on the second call in one process.
pub fn start(options: &LogOptions, clock: Clock) -> Result<(), TelemetryFault> {
    let ink = if std::io::stderr().is_terminal() {
        Ink::Coloured
    } else {
        Ink::Plain
    };
    install(subscriber(options, clock, (std::io::stderr, ink))?)
}

/// As [`start`], but into a file, for commands that talk to a person meanwhile.
///
/// # Errors
/// As [`start`].
pub fn start_into(file: File, options: &LogOptions, clock: Clock) -> Result<(), TelemetryFault> {
    install(subscriber(options, clock, (Arc::new(file), Ink::Plain))?)
}

fn install(subscriber: Box<dyn Subscriber + Send + Sync>) -> Result<(), TelemetryFault> {
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryFault::Started)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let reason = panic.payload_as_str().unwrap_or("no reason given");
        tracing::error!(panic.place = place, panic.reason = reason, "panic");
    }));
    Ok(())
}

/// Whether text has colours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ink {
    Plain,
    Coloured,
}

fn subscriber<W>(
    options: &LogOptions,
    clock: Clock,
    (writer, ink): (W, Ink),
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryFault>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&options.level)?)
        .with_writer(writer);
    Ok(match options.format {
        LogFormat::Json => Box::new(
            builder
                .fmt_fields(JsonFields::new())
                .event_format(DottedJson { clock })
                .finish(),
        ),
        LogFormat::Text => Box::new(
            builder
                .with_ansi(ink == Ink::Coloured)
                .with_timer(Moment(clock))
                .finish(),
        ),
    })
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryFault> {
    let plain = level.parse::<tracing::level_filters::LevelFilter>().is_ok();
    let directives = if plain {
        format!("{level},{CHATTY}")
    } else {
        level.to_owned()
    };
    EnvFilter::builder()
        .parse(directives)
        .map_err(|fault| TelemetryFault::Level {
            level: level.to_owned(),
            reason: fault.to_string(),
        })
}

/// The time of text lines.
struct Moment(Clock);

impl FormatTime for Moment {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", self.0.now())
    }
}

/// One flat object a line: time, level, target, message, the fields of the spans, the event's own.
struct DottedJson {
    clock: Clock,
}

impl<S> FormatEvent<S, JsonFields> for DottedJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Line::default();
        line.set("timestamp", self.clock.now().to_string().into());
        line.set("level", metadata.level().as_str().into());
        line.set("target", metadata.target().into());
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            line.adopt(span.extensions().get::<FormattedFields<JsonFields>>());
        }
        event.record(&mut line);
        writeln!(writer, "{}", line.to_json().map_err(|_| fmt::Error)?)
    }
}

/// The members of a line in the order they came; a later one of the same name takes its place.
#[derive(Default)]
struct Line(Vec<(String, Value)>);

impl Line {
    fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, place)) => *place = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn adopt(&mut self, fields: Option<&FormattedFields<JsonFields>>) {
        let Some(fields) = fields else { return };
        if let Ok(Value::Object(members)) = serde_json::from_str(&fields.fields) {
            for (name, value) in members {
                self.set(&name, value);
            }
        }
    }

    fn to_json(&self) -> serde_json::Result<String> {
        let mut text = Vec::with_capacity(256);
        let mut writer = serde_json::Serializer::new(&mut text);
        let mut object = writer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            object.serialize_entry(name, value)?;
        }
        object.end()?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, level: &str, act: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let clock = Clock::over(TestClock::at(Timestamp::from_millis(1_700_000_000_123)));
        let options = LogOptions {
            format,
            level: level.to_owned(),
        };
        let writer = move || writer.clone();
        let subscriber = subscriber(&options, clock, (writer, Ink::Plain)).unwrap();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_flat_and_carries_the_fields_of_its_spans() {
        let line = written(LogFormat::Json, "info", || {
            let span = tracing::info_span!("request", request.id = "r-1", http.status = 1);
            let _in = span.enter();
            tracing::info!(message.id = %"m-1", http.status = 202, "accepted");
            tracing::debug!("not shown");
        });
        assert_eq!(
            line,
            concat!(
                r#"{"timestamp":"2023-11-14T22:13:20.123Z","level":"INFO","#,
                r#""target":"amtpd::telemetry::log::tests","http.status":202,"request.id":"r-1","#,
                r#""message":"accepted","message.id":"m-1"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_text_line_is_one_line_for_people() {
        let line = written(LogFormat::Text, "debug", || {
            tracing::debug!(a.b = 1, "hello")
        });
        assert!(line.starts_with("2023-11-14T22:13:20.123Z"), "{line}");
        assert!(line.contains("hello") && line.contains("a.b=1"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn levels_and_directives_are_understood_and_others_refused() {
        let shown = written(LogFormat::Json, "warn,amtpd::telemetry=debug", || {
            tracing::debug!("ours");
            tracing::info!(target: "other", "theirs");
        });
        assert!(
            shown.contains("ours") && !shown.contains("theirs"),
            "{shown}"
        );
        assert!(
            written(
                LogFormat::Json,
                "debug",
                || tracing::debug!(target: "h2", "frame")
            )
            .is_empty()
        );
        let options = LogOptions {
            format: LogFormat::Json,
            level: "a=b=c".to_owned(),
        };
        let clock = Clock::over(TestClock::at(Timestamp::from_millis(0)));
        let fault = subscriber(&options, clock, (io::sink, Ink::Plain))
            .err()
            .unwrap();
        assert!(
            fault.to_string().starts_with("\"a=b=c\" is no log level"),
            "{fault}"
        );
    }
}
