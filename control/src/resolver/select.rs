//! The pods that sets mean: asked when a set is made, and when nobody means it any more.

use std::collections::HashSet;

use lockgate_dataplane::policy::delta::Delta;
use lockgate_dataplane::policy::ruleset::{PeerSet, PodIndex, SetId};

use super::Resolver;
use super::labels::Wanted;
use super::pods::{Known, Place};
use super::sets::Meaning;
use crate::resolve::Doubt;

impl Resolver {
    /// The pods that a set means, ascending.
    pub(super) fn select(&self, meaning: &Meaning) -> Vec<Place> {
        match meaning {
            Meaning::Denied => self.denied.clone(),
            Meaning::Everyone => self.seen.all.clone(),
            // A pod does not know that it is listed.
            Meaning::Blocks(_) | Meaning::Listed(_) => Vec::new(),
            Meaning::Own(space, wanted) => {
                let (all, everywhere) =
                    (&self.spaces.space(*space).pods, self.seen.shortest(wanted));
                let fewest = if everywhere.len() < all.len() { everywhere } else { all };
                let is_in = |pod: &Known| pod.space == *space;
                self.matching(fewest, wanted, is_in).collect()
            }
            Meaning::Across(scope, wanted) => {
                let spaces = &self.spaces.scope(*scope).spaces;
                let all = spaces.iter().map(|space| self.spaces.space(*space).pods.as_slice());
                let everywhere = self.seen.shortest(wanted);
                if everywhere.len() < all.clone().map(<[_]>::len).sum() {
                    let is_in = |pod: &Known| spaces.binary_search(&pod.space).is_ok();
                    return self.matching(everywhere, wanted, is_in).collect();
                }
                let mut found: Vec<Place> =
                    all.flat_map(|pods| self.matching(pods, wanted, |_| true)).collect();
                found.sort_unstable();
                found
            }
            Meaning::Selected(selection, doubt) => self.select_selected(selection, *doubt),
            Meaning::Named(base, name, protocol, number) => {
                let base = self.sets.get(*base).map(|set| self.select(&set.meaning));
                let bears = |place: &Place| {
                    let pod = self.pods.get(*place);
                    pod.and_then(|pod| pod.port(*name, *protocol)) == Some(*number)
                };
                base.unwrap_or_default().into_iter().filter(bears).collect()
            }
        }
    }

    fn matching<'r>(
        &'r self,
        places: &'r [Place],
        wanted: &'r Wanted,
        is_in: impl Fn(&Known) -> bool + 'r,
    ) -> impl Iterator<Item = Place> + 'r {
        let matches = move |place: &Place| {
            let pod = self.pods.get(*place).filter(|pod| is_in(pod));
            pod.and_then(|pod| pod.labels.as_ref()).is_some_and(|labels| wanted.matches(labels))
        };
        places.iter().copied().filter(matches)
    }

    /// Tells of sets that were made or that nobody means any more.
    pub(super) fn tell_sets(&mut self, delta: &mut Delta) {
        let mut gone: HashSet<SetId> = HashSet::new();
        let made: HashSet<SetId> = self.sets.made.iter().copied().collect();
        while let Some(id) = self.sets.unused.pop() {
            let Some(set) = self.sets.drop(id) else { continue };
            gone.insert(id);
            if !made.contains(&id) {
                for place in self.select(&set.meaning) {
                    if let Some(known) = self.pods.get_mut(place) {
                        known.sets.retain(|one| *one != id);
                    }
                }
                delta.sets.push((id, None));
            }
            self.forget_meaning(id, set.meaning);
        }
        delta.members.retain(|(set, _, _)| !gone.contains(set));
        for id in self.sets.made.clone() {
            let Some(meaning) = self.sets.get(id).map(|set| set.meaning.clone()) else { continue };
            let places = self.select(&meaning);
            for place in &places {
                if let Some(known) = self.pods.get_mut(*place)
                    && let Err(at) = known.sets.binary_search(&id)
                {
                    known.sets.insert(at, id);
                }
            }
            self.doubt(id, &meaning);
            let set = match meaning {
                Meaning::Blocks(blocks) => PeerSet { pods: Vec::new(), blocks },
                Meaning::Listed(pods) => PeerSet { pods, blocks: Vec::new() },
                _ => {
                    PeerSet { pods: places.into_iter().map(PodIndex).collect(), blocks: Vec::new() }
                }
            };
            delta.sets.push((id, Some(set)));
        }
        self.sets.settle();
    }

    /// Notes of which pods nobody can tell whether they are in a new set.
    fn doubt(&mut self, id: SetId, meaning: &Meaning) {
        let Meaning::Selected(selection, Doubt::In) = meaning else { return };
        if self.doubtful.is_empty() {
            return;
        }
        let certain = self.select_selected(selection, Doubt::Out);
        for place in self.doubtful.iter().filter(|place| certain.binary_search(place).is_err()) {
            if let Some(known) = self.pods.get_mut(*place)
                && known.sets.binary_search(&id).is_ok()
                && let Err(at) = known.doubts.binary_search(&id)
            {
                known.doubts.insert(at, id);
            }
        }
    }

    /// Gives back what a meaning used.
    fn forget_meaning(&mut self, id: SetId, meaning: Meaning) {
        match meaning {
            Meaning::Own(space, wanted) => {
                self.spaces.space_mut(space).own.remove(id.0, &wanted);
                self.words.release_wanted(&wanted);
                self.spaces.leave(space, &mut self.words);
            }
            Meaning::Across(scope, wanted) => {
                self.spaces.scope_mut(scope).sets.remove(id.0, &wanted);
                self.words.release_wanted(&wanted);
                self.spaces.leave_scope(scope, &mut self.words);
            }
            Meaning::Selected(selection, _) => self.forget_selection(id, &selection),
            Meaning::Named(base, name, protocol, number) => {
                if let Some(base) = self.sets.get_mut(base) {
                    for one in base
                        .names
                        .iter_mut()
                        .filter(|one| (one.word, one.protocol) == (name, protocol))
                    {
                        one.numbers.remove(&number);
                    }
                    base.names.retain(|one| !one.numbers.is_empty() || !one.policies.is_empty());
                }
                self.words.release(name);
                self.sets.leave(base);
            }
            Meaning::Denied | Meaning::Everyone | Meaning::Blocks(_) | Meaning::Listed(_) => {}
        }
    }
}
