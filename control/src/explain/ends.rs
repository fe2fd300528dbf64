//! The two ends of a question: which pods they are, and at which addresses they meet.

use std::net::IpAddr;
use std::str::FromStr;

use lockgate_dataplane::service::own::as_itself;

use super::{ExplainError, Family};
use crate::inventory::{Census, Inventory, Resident};
use crate::manifest::{DEFAULT_NAMESPACE, Pod, is_lost_namespace};

/// An end as typed: `NAMESPACE/POD`, `POD` (namespace `default`) or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Whoever has this address.
    Address(IpAddr),
    /// This pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl FromStr for Subject {
    type Err = ExplainError;

    /// What can be an address is one; a pod of such a name is asked for with its namespace.
    fn from_str(text: &str) -> Result<Self, ExplainError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let (namespace, name) = text.split_once('/').unwrap_or((DEFAULT_NAMESPACE, text));
        let is_pod = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
        let is_odd = |letter: char| letter.is_whitespace() || letter == ':';
        // The namespace of a pod that has lost its own may be anything.
        if is_pod && (is_lost_namespace(namespace) || !text.contains(is_odd)) {
            return Ok(Self::Pod { namespace: namespace.to_owned(), name: name.to_owned() });
        }
        Err(ExplainError::NotASubject(text.to_owned()))
    }
}

/// An end and every address it can be met at.
#[derive(Clone, Debug)]
pub(super) struct End {
    shown: String,
    /// Its place in the census.
    place: Option<usize>,
    addresses: Vec<IpAddr>,
}

/// An end at the address of the question.
#[derive(Clone, Debug)]
pub(super) struct Met {
    /// `namespace/name`, or an address.
    pub(super) shown: String,
    pub(super) address: IpAddr,
    /// Its place in the census; `None` for what no selector can see.
    pub(super) place: Option<usize>,
    /// It was asked for by an address that several pods claim: it may be any of them.
    pub(super) is_doubtful: bool,
}

impl Met {
    /// Whether this is the switch as a pod sees it to whom a Service has brought its own packet: so
    /// such packets are judged and sampled.
    pub(super) fn is_switch_to(&self, pod: &Self) -> bool {
        let own = as_itself(pod.address.into());
        self.place.is_none() && pod.place.is_some() && IpAddr::from(own) == self.address
    }
}

impl End {
    pub(super) fn find(
        inventory: &Inventory,
        census: &Census<'_>,
        subject: &Subject,
    ) -> Result<Self, ExplainError> {
        match subject {
            Subject::Address(address) => {
                let (shown, addresses) = (address.to_string(), vec![*address]);
                Ok(Self { shown, place: None, addresses })
            }
            Subject::Pod { namespace, name } => {
                let shown = format!("{namespace}/{name}");
                let Some(pod) = inventory.pod(namespace, name) else {
                    let near = inventory.pods().map(|pod| &pod.metadata.key);
                    let near = near.filter(|key| *key.name == **name);
                    let near = near.map(|key| format!("{}/{}", key.namespace, key.name)).take(3);
                    return Err(ExplainError::UnknownPod { name: shown, near: near.collect() });
                };
                let place = census.place(namespace, name);
                Ok(Self { addresses: addresses_of(pod, &shown)?, shown, place })
            }
        }
    }

    pub(super) fn at(self, census: &Census<'_>, address: IpAddr) -> Met {
        let owner = census.owner(address);
        let place = self.place.or_else(|| {
            owner.and_then(|one| census.place(one.namespace(), &one.pod.metadata.key.name))
        });
        // An address is shown as the pod that has it. A pod on its node's network stays itself.
        let is_address = self.shown == address.to_string();
        let shown = owner.filter(|_| is_address).map_or(self.shown, Resident::name);
        let is_doubtful = is_address && census.shared.contains_key(&address);
        Met { shown, address, place, is_doubtful }
    }

    fn of_family(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }
}

fn addresses_of(pod: &Pod, shown: &str) -> Result<Vec<IpAddr>, ExplainError> {
    if pod.is_completed {
        return Err(ExplainError::Completed(shown.to_owned()));
    }
    let mut addresses = pod.addresses.to_vec();
    if pod.host_network && addresses.is_empty() {
        addresses.extend(pod.host_ips.iter());
    }
    if addresses.is_empty() {
        return Err(ExplainError::NoAddress(shown.to_owned()));
    }
    Ok(addresses)
}

/// The addresses that the question is about: of the family asked for, else of the first of the
/// source's that the target has too.
pub(super) fn addresses(
    from: &End,
    to: &End,
    family: Option<Family>,
) -> Result<(IpAddr, IpAddr), ExplainError> {
    if let Some(family) = family {
        let of = |end: &End| {
            let missing = || ExplainError::NotOfFamily { name: end.shown.clone(), family };
            end.of_family(family).ok_or_else(missing)
        };
        return Ok((of(from)?, of(to)?));
    }
    let meet = |source: &IpAddr| Some((*source, to.of_family(Family::of(*source))?));
    let shared = from.addresses.iter().find_map(meet);
    shared.ok_or_else(|| ExplainError::NoCommonFamily(from.shown.clone(), to.shown.clone()))
}
