//! One end of a rule as addresses: pods and blocks, put together and taken apart.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lockgate_dataplane::policy::ruleset::{Block, PodIndex};

use super::groups::Pods;
use super::world::World;
use crate::policy::Family;

/// Who may be at an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Anyone.
    Any,
    /// These pods with all their addresses, and the addresses in these blocks.
    These {
        /// Pods.
        pods: Pods,
        /// Blocks.
        blocks: Vec<Block>,
    },
}

/// Every address of a version of IP.
pub(super) fn all_of(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(Ipv4Net::default()),
        Family::V6 => IpNet::V6(Ipv6Net::default()),
    }
}

/// A block without exceptions.
pub(super) fn block(cidr: IpNet) -> Block {
    Block { cidr: cidr.trunc(), except: Vec::new() }
}

impl Ends {
    /// Of blocks alone.
    pub(super) fn blocks(cidrs: impl IntoIterator<Item = IpNet>) -> Self {
        Self::These { pods: Pods::nobody(), blocks: cidrs.into_iter().map(block).collect() }
    }

    /// Whether nobody can be there.
    pub(super) fn is_nobody(&self) -> bool {
        matches!(self, Self::These { pods, blocks } if pods.is_nobody() && blocks.is_empty())
    }

    /// Who is in both.
    pub(super) fn and(self, other: Self, world: &impl World) -> Self {
        match (self, other) {
            (Self::Any, one) | (one, Self::Any) => one,
            (Self::These { pods: a, blocks: x }, Self::These { pods: b, blocks: y })
                if x.is_empty() && y.is_empty() =>
            {
                let pods = if a == b { a } else { common_pods(&a, &b, world) };
                Self::These { pods, blocks: Vec::new() }
            }
            (a, b) => {
                let (a, b) = (a.into_blocks(world), b.into_blocks(world));
                let both = a.iter().flat_map(|one| b.iter().filter_map(|other| common(one, other)));
                Self::These { pods: Pods::nobody(), blocks: both.collect() }
            }
        }
    }

    /// Who is in this and in none of those.
    pub(super) fn without(self, out: &[IpNet], world: &impl World) -> Self {
        if out.is_empty() {
            return self;
        }
        let blocks = self.into_blocks(world).into_iter().filter_map(|mut block| {
            for net in out {
                if net.contains(&block.cidr) {
                    return None;
                }
                if block.cidr.contains(net) {
                    block.except.push(*net);
                }
            }
            tidy(&mut block.except);
            Some(block)
        });
        Self::These { pods: Pods::nobody(), blocks: blocks.collect() }
    }

    /// The same without pods: a block for each of their addresses.
    fn into_blocks(self, world: &impl World) -> Vec<Block> {
        match self {
            Self::Any => [Family::V4, Family::V6].map(all_of).map(block).into(),
            Self::These { pods, mut blocks } => {
                blocks.extend(addresses(&pods, world).into_iter().map(block));
                blocks
            }
        }
    }
}

/// The addresses of pods.
pub(super) fn addresses(pods: &Pods, world: &impl World) -> Vec<IpNet> {
    let pods = world.list(pods);
    pods.iter().flat_map(|pod| world.addresses(*pod)).copied().map(IpNet::from).collect()
}

/// The pods that are among both.
pub(super) fn common_pods(a: &Pods, b: &Pods, world: &impl World) -> Pods {
    let b = world.list(b);
    let is_there = |pod: &&PodIndex| b.binary_search(pod).is_ok();
    Pods::Listed(world.list(a).iter().filter(is_there).copied().collect())
}

/// What is in both blocks; `None` is nothing.
fn common(a: &Block, b: &Block) -> Option<Block> {
    let cidr = match (a.cidr.contains(&b.cidr), b.cidr.contains(&a.cidr)) {
        (true, _) => b.cidr,
        (_, true) => a.cidr,
        _ => return None,
    };
    let mut except: Vec<IpNet> = a.except.iter().chain(&b.except).copied().collect();
    if except.iter().any(|out| out.contains(&cidr)) {
        return None;
    }
    except.retain(|out| cidr.contains(out));
    tidy(&mut except);
    Some(Block { cidr, except })
}

fn tidy(nets: &mut Vec<IpNet>) {
    nets.sort_unstable();
    nets.dedup();
}
