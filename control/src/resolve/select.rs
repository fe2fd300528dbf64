//! Selectors answered from an index.
//!
//! Pods are sorted by namespace, so a namespace is a range of places, and the pods that bear a
//! label are an ascending list whose part in a namespace is found by bisection. A selector looks
//! at the pods of its shortest list only; the answer to each selector is kept.

use std::collections::HashMap;
use std::ops::Range;

use lockgate_dataplane::policy::ruleset::{PodIndex, SetId};

use super::sets::Sets;
use crate::inventory::{Census, Inventory};
use crate::selector::{LabelSelector, Labels, Operator};

/// In which namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope<'i> {
    /// In this one.
    Own(&'i str),
    /// In those with matching labels.
    Matching(&'i LabelSelector),
    /// In all, whatever can be read of them.
    All,
}

/// A namespace that has pods.
#[derive(Debug)]
struct Home {
    /// `None` where no selector may see it.
    labels: Option<Labels>,
    pods: Range<u32>,
}

/// The index.
#[derive(Debug)]
pub(super) struct Selection<'i> {
    /// By place: its labels, `None` for a pod that no selector may see.
    pods: Vec<Option<&'i Labels>>,
    homes: Vec<Home>,
    /// Places in `homes`.
    by_name: HashMap<&'i str, usize>,
    with_label: HashMap<(&'i str, &'i str), Vec<u32>>,
    with_key: HashMap<&'i str, Vec<u32>>,
    /// Ranges of the namespaces that a selector matches, side by side ones joined.
    matching: HashMap<&'i LabelSelector, Vec<Range<u32>>>,
    answers: HashMap<(Scope<'i>, Option<&'i LabelSelector>), SetId>,
}

impl<'i> Selection<'i> {
    pub(super) fn new(inventory: &'i Inventory, census: &'i Census<'i>) -> Self {
        let mut index = Self {
            pods: Vec::with_capacity(census.residents.len()),
            homes: Vec::new(),
            by_name: HashMap::new(),
            with_label: HashMap::new(),
            with_key: HashMap::new(),
            matching: HashMap::new(),
            answers: HashMap::new(),
        };
        for (place, resident) in (0u32..).zip(&census.residents) {
            let namespace = &*resident.pod.metadata.key.namespace;
            let home = *index.by_name.entry(namespace).or_insert_with(|| {
                let labels = inventory.namespace_labels(namespace);
                index.homes.push(Home { labels, pods: place..place });
                index.homes.len() - 1
            });
            if let Some(home) = index.homes.get_mut(home) {
                home.pods.end = place.saturating_add(1);
            }
            let labels = resident.pod.labels.as_deref().filter(|_| !resident.is_denied);
            for (key, value) in labels.into_iter().flat_map(Labels::iter) {
                index.with_key.entry(key).or_default().push(place);
                index.with_label.entry((key, value)).or_default().push(place);
            }
            index.pods.push(labels);
        }
        index
    }

    /// The set of the pods that match; `None` for `pods` is any labels.
    pub(super) fn set(
        &mut self,
        scope: Scope<'i>,
        pods: Option<&'i LabelSelector>,
        sets: &mut Sets,
    ) -> SetId {
        // A selector that asks nothing is no selector.
        let pods = pods.filter(|selector| !selector.requirements().is_empty());
        if let Some(known) = self.answers.get(&(scope, pods)) {
            return *known;
        }
        let homes = self.homes_in(scope);
        let found = self.select(&homes, pods);
        let set = sets.of_pods(found);
        self.answers.insert((scope, pods), set);
        set
    }

    fn homes_in(&mut self, scope: Scope<'i>) -> Vec<Range<u32>> {
        match scope {
            Scope::Own(name) => {
                let home = self.by_name.get(name).and_then(|place| self.homes.get(*place));
                home.map(|home| home.pods.clone()).into_iter().collect()
            }
            Scope::Matching(selector) => self
                .matching
                .entry(selector)
                .or_insert_with(|| {
                    let matches = |labels: &Labels| selector.matches(labels);
                    let is_meant = |home: &&Home| home.labels.as_ref().is_some_and(matches);
                    let matching = self.homes.iter().filter(is_meant);
                    joined(matching.map(|home| home.pods.clone()))
                })
                .clone(),
            Scope::All => joined(self.homes.iter().map(|home| home.pods.clone())),
        }
    }

    fn select(&self, homes: &[Range<u32>], selector: Option<&'i LabelSelector>) -> Vec<PodIndex> {
        let matches = |place: &u32| {
            let labels = usize::try_from(*place).ok().and_then(|place| self.pods.get(place));
            let labels = labels.copied().flatten();
            labels.is_some_and(|labels| selector.is_none_or(|one| one.matches(labels)))
        };
        let mut found = Vec::new();
        match selector.and_then(|selector| self.shortest(selector)) {
            None => {
                let places = homes.iter().flat_map(Range::clone);
                found.extend(places.filter(matches).map(PodIndex));
            }
            Some(list) => {
                for home in homes {
                    let first = list.partition_point(|place| *place < home.start);
                    let rest = list.get(first..).unwrap_or_default();
                    let inside = rest.iter().take_while(|place| **place < home.end);
                    found.extend(inside.filter(|place| matches(place)).copied().map(PodIndex));
                }
            }
        }
        found
    }

    /// The shortest list in which every match must be; `None` when no requirement has one.
    fn shortest(&self, selector: &'i LabelSelector) -> Option<&[u32]> {
        let listed = selector.requirements().iter().filter_map(|one| match &one.operator {
            Operator::In(values) => match values.as_slice() {
                [value] => Some(self.with_label.get(&(one.key.as_str(), value.as_str()))),
                _ => Some(self.with_key.get(one.key.as_str())),
            },
            Operator::Exists => Some(self.with_key.get(one.key.as_str())),
            Operator::NotIn(_) | Operator::DoesNotExist => None,
        });
        listed.map(|list| list.map_or(&[][..], Vec::as_slice)).min_by_key(|list| list.len())
    }
}

/// Ascending ranges, with those that touch made one.
fn joined(ranges: impl Iterator<Item = Range<u32>>) -> Vec<Range<u32>> {
    let mut all: Vec<Range<u32>> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => all.push(range),
        }
    }
    all
}
