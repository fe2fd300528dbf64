//! Families of metrics, built by name.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// Labels of one metric, in the order they are written.
#[derive(Default)]
pub(super) struct Labels(Vec<LabelPair>);

impl Labels {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        self.0.push(pair);
        self
    }
}

/// Families so far. A family without metrics is left out: the encoder refuses it.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    pub(super) fn finish(self) -> Vec<MetricFamily> {
        self.0
    }

    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let metrics = values.into_iter().map(|(labels, value)| {
            let mut metric = Metric::from_label(labels.0);
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
            metric
        });
        self.add(name, help, MetricType::COUNTER, metrics.collect());
    }

    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let metrics = values.into_iter().map(|(labels, value)| {
            let mut metric = Metric::from_label(labels.0);
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
            metric
        });
        self.add(name, help, MetricType::GAUGE, metrics.collect());
    }

    /// Histograms from counts that are each of one bucket, and the sum of what was counted.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[usize; N],
        values: impl IntoIterator<Item = (Labels, [u64; N], u64)>,
    ) {
        let metrics = values.into_iter().map(|(labels, counts, sum)| {
            let mut below = 0;
            let buckets = bounds.iter().zip(counts).map(|(&bound, count)| {
                below += count;
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(super::float(bound as u64));
                bucket.set_cumulative_count(below);
                bucket
            });
            let mut histogram = Histogram::default();
            histogram.set_bucket(buckets.collect());
            histogram.set_sample_count(below);
            histogram.set_sample_sum(super::float(sum));
            let mut metric = Metric::from_label(labels.0);
            metric.set_histogram(histogram);
            metric
        });
        self.add(name, help, MetricType::HISTOGRAM, metrics.collect());
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(format!("lockgate_{name}"));
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}
