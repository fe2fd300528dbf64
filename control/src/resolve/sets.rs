//! Sets of peers, each made once.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;
use lockgate_dataplane::policy::ruleset::{Block, PeerSet, PodIndex, SetId};

/// Every set so far; equal sets have one id.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    list: Vec<Arc<PeerSet>>,
    ids: HashMap<Arc<PeerSet>, SetId>,
}

impl Sets {
    /// Of pods, ascending and without repeats.
    pub(crate) fn of_pods(&mut self, pods: Vec<PodIndex>) -> SetId {
        self.intern(PeerSet { pods, blocks: Vec::new() })
    }

    pub(crate) fn of_block(&mut self, cidr: IpNet, except: Vec<IpNet>) -> SetId {
        self.of_blocks(vec![Block { cidr, except }])
    }

    pub(crate) fn of_blocks(&mut self, blocks: Vec<Block>) -> SetId {
        self.intern(PeerSet { pods: Vec::new(), blocks })
    }

    /// The set of an id.
    pub(crate) fn set(&self, id: SetId) -> Option<Arc<PeerSet>> {
        self.list.get(usize::try_from(id.0).ok()?).cloned()
    }

    /// All of them, by id.
    pub(crate) fn into_list(self) -> Vec<PeerSet> {
        drop(self.ids);
        self.list.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    fn intern(&mut self, set: PeerSet) -> SetId {
        if let Some(id) = self.ids.get(&set) {
            return *id;
        }
        let id = SetId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        let set = Arc::new(set);
        self.list.push(set.clone());
        self.ids.insert(set, id);
        id
    }
}
