//! Metrics of one name, with their labels.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Name and value of a label.
pub(super) type Label = (&'static str, String);

/// Writer of metric families, one after the other.
pub(super) struct Families<'a>(DescriptorEncoder<'a>);

impl<'a> Families<'a> {
    /// Creates a writer to `encoder`.
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Writes counters; `name` ends in `_total`.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (impl AsRef<[Label]>, u64)>,
    ) -> fmt::Result {
        debug_assert!(name.ends_with("_total"), "{name}");
        // The library's own counters would have the suffix in their samples alone, as OpenMetrics requires it.
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, count)| sample(&mut family, labels.as_ref(), count))
    }

    /// Writes a counter without labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.0.encode_descriptor(name, help, None, MetricType::Counter)?.encode_gauge(&count)
    }

    /// Writes a histogram without labels: the sum of its samples, and their number by bucket, the last of which has no
    /// bound.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        sum: f64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    /// Writes gauges.
    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (impl AsRef<[Label]>, impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        samples.into_iter().try_for_each(|(labels, value)| sample(&mut family, labels.as_ref(), value))
    }

    /// Writes a gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }
}

fn sample(family: &mut MetricEncoder<'_>, labels: &[Label], value: impl EncodeGaugeValue) -> fmt::Result {
    family.encode_family(&labels)?.encode_gauge(&value)
}
