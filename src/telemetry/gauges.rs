//! Gauges of the store and the certificate.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::series;

pub(super) fn certificate_gauge(registry: &mut Registry) -> Gauge {
    series(
        registry,
        Gauge::default(),
        "amtp_tls_certificate_expiry_timestamp_seconds",
        "When the certificate in use expires, in seconds since 1970",
    )
}

pub(super) fn store_gauges(registry: &mut Registry) -> (Gauge, Gauge) {
    let free = series(
        registry,
        Gauge::default(),
        "amtp_store_free_bytes",
        "Free space on the store's file system",
    );
    let present: Gauge = series(
        registry,
        Gauge::default(),
        "amtp_store_present",
        "Whether the database took the last commit: 1, or 0 while it is away",
    );
    present.set(1);
    (free, present)
}
