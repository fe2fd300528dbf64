//! The kept table against one built from everything.

use super::*;
use crate::limits::DEPARTED_MAX;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn key(n: u16) -> FrontKey {
    let [high, low] = (n / 3).to_be_bytes();
    let address = match n % 2 {
        0 => Address::from_v4([10, 96, high, low]),
        _ => Address::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low]),
    };
    FrontKey { address, port: 80 + n % 3, number: [6, 17, 132][usize::from(n % 3)] }
}

fn front(id: u32) -> Front {
    let backend = Backend { address: Address::from_v4([10, 0, 0, 1]), port: 8080 };
    let list: Arc<[Backend]> = Arc::new([backend]);
    let serving = Serving {
        id: ServingId(id),
        affinity_ms: 0,
        lack: Lack::Reject,
        chosen: Arc::clone(&list),
        serving: Arc::clone(&list),
        listed: list,
    };
    Front { serving: Arc::new(serving), beyond: None, sources: None }
}

fn sorted(services: &Services) -> Vec<(FrontKey, Front)> {
    let mut fronts: Vec<_> = services.fronts().cloned().collect();
    fronts.sort_by_key(|(key, _)| *key);
    fronts
}

proptest! {
    #[test]
    fn the_kept_table_is_the_one_built_from_all(
        changes in prop::collection::vec((0_u16..400, prop::option::weighted(0.7, any::<u32>())), 0..600),
    ) {
        let mut kept = KeptServices::default();
        let mut model: BTreeMap<FrontKey, Front> = BTreeMap::new();
        for chunk in changes.chunks(7) {
            let fronts: Vec<_> = chunk.iter().map(|(n, id)| (key(*n), id.map(front))).collect();
            for (key, front) in &fronts {
                match front {
                    Some(front) => _ = model.insert(*key, front.clone()),
                    None => _ = model.remove(key),
                }
            }
            let before = kept.now().clone();
            let held = sorted(&before);
            kept.apply(Delta { fronts, addresses: Vec::new() });
            prop_assert!(kept.now().version() != before.version(), "a change has its number");
            prop_assert_eq!(sorted(&before), held, "a snapshot before changes no more");
            let built = Services::build(model.clone().into_iter().collect());
            for n in 0..400 {
                let key = key(n);
                prop_assert_eq!(kept.now().find(&key), built.find(&key));
                prop_assert_eq!(kept.now().find(&key), model.get(&key));
            }
        }
    }
}

#[test]
fn ten_thousand_fronts_are_all_found() {
    let fronts = (0..10_000_u16).map(|n| (key(n), front(n.into()))).collect();
    let services = Services::build(fronts);
    for n in 0..10_000_u16 {
        // Every sixth number is a front of its own.
        assert!(services.find(&key(n)).is_some(), "{n}");
    }
    let longest = services.pages.iter().map(|page| page.len()).max();
    assert!(longest <= Some(FRONTS_PER_PAGE_MAX), "{longest:?}");
}

#[test]
fn a_client_outside_the_ranges_is_not_admitted() {
    let range =
        Range { first: Address::from_v4([192, 0, 2, 0]), last: Address::from_v4([192, 0, 2, 255]) };
    let front = Front { sources: Some(Arc::new([range])), ..front(1) };
    assert!(front.admits(Address::from_v4([192, 0, 2, 7])));
    assert!(!front.admits(Address::from_v4([192, 0, 3, 0])));
    assert!(!Front { sources: Some(Arc::new([])), ..front }.admits(range.first), "nobody is named");
}

#[test]
fn a_connection_stays_while_its_backend_is_there_by_its_protocol() {
    let backend = |n| Backend { address: Address::from_v4([10, 0, 0, n]), port: 80 };
    let front = front(1);
    let serving = Serving {
        serving: Arc::new([backend(1)]),
        listed: Arc::new([backend(1), backend(2)]),
        ..(*front.serving).clone()
    };
    assert!(serving.keeps(backend(1), true) && serving.keeps(backend(2), false));
    assert!(!serving.keeps(backend(2), true), "UDP does not stay with who does not serve");
    assert!(!serving.keeps(backend(3), false));
}

fn ip(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    IpAddr::from([10, 97, high, low])
}

fn node_port(n: u16) -> FrontKey {
    let address = if n.is_multiple_of(2) { NODE_PORTS_V4 } else { NODE_PORTS_V6 };
    FrontKey { address, port: 30_000 + n, number: 6 }
}

/// An address and a node port begin to be a Service's, or end to be one's.
fn moved(kept: &mut KeptServices, n: u16, is_there: bool) -> Vec<IpAddr> {
    let fronts = [node_port(n), key(n)].map(|key| (key, is_there.then(|| front(1))));
    let addresses = vec![(ip(n), is_there.then_some(Extent::Whole))];
    kept.apply(Delta { fronts: fronts.into(), addresses })
}

proptest! {
    #[test]
    fn what_was_a_services_is_known_until_it_is_one_again(
        changes in prop::collection::vec((0_u16..12, any::<bool>()), 0..80),
    ) {
        let mut kept = KeptServices::default();
        let mut there = BTreeMap::new();
        for (n, is_there) in changes {
            let version = kept.now().version();
            let told = moved(&mut kept, n, is_there);
            let was_there = there.get(&n) == Some(&true);
            prop_assert_eq!(told.contains(&ip(n)), was_there != is_there);
            prop_assert!(kept.now().version() != version);
            // What there never was is not gone either.
            if is_there || was_there {
                there.insert(n, is_there);
            }
            for n in 0..12 {
                let known = there.get(&n);
                let (is_there, is_gone) = (known == Some(&true), known == Some(&false));
                let gone = is_gone.then_some(Extent::Fronts);
                prop_assert_eq!(kept.extent(ip(n)), is_there.then_some(Extent::Whole).or(gone));
                prop_assert_eq!(kept.now().is_departed(ip(n).into()), is_gone);
                prop_assert_eq!(kept.now().is_closed(&node_port(n)), is_gone);
                prop_assert!(!kept.now().is_closed(&key(n)), "it is no node port");
            }
            let places: BTreeMap<_, _> = kept.places().collect();
            let known = there.iter().map(|(n, is_there)| (ip(*n), *is_there));
            let extent = |is_there| if is_there { Extent::Whole } else { Extent::Fronts };
            let known: BTreeMap<_, _> = known.map(|(at, is)| (at, extent(is))).collect();
            prop_assert_eq!(places, known);
        }
    }
}

#[test]
fn of_more_that_went_than_are_kept_the_oldest_is_forgotten() {
    let mut kept = KeptServices::default();
    let most = u16::try_from(DEPARTED_MAX).unwrap();
    let all = most + 2;
    for n in 0..all {
        moved(&mut kept, n, true);
    }
    for n in (0..all).rev() {
        let told = moved(&mut kept, n, false);
        let forgotten = (n < 2).then(|| ip(n + most));
        assert_eq!(told, forgotten.into_iter().chain([ip(n)]).collect::<Vec<_>>());
    }
    for n in 0..all {
        let is_known = n < most;
        assert_eq!(kept.extent(ip(n)).is_some(), is_known, "{n}");
        assert_eq!(kept.now().is_departed(ip(n).into()), is_known, "{n}");
        assert_eq!(kept.now().is_closed(&node_port(n)), is_known, "{n}");
    }
}

proptest! {
    /// What a predecessor's clients ask is a Service's now, or has departed; nothing else has.
    #[test]
    fn what_is_inherited_has_departed_where_it_is_no_services(
        changes in prop::collection::vec((0_u16..8, any::<bool>()), 0..12),
        asked in prop::collection::vec(0_u16..12, 0..12),
    ) {
        let mut kept = KeptServices::default();
        for (n, is_there) in changes {
            moved(&mut kept, n, is_there);
        }
        let before: Vec<_> = (0..12)
            .map(|n| (kept.extent(ip(n)), kept.now().is_closed(&node_port(n)), is_open(&kept, n)))
            .collect();
        let at = |n: u16| FrontKey { address: ip(n).into(), port: 80, number: 6 };
        let told = kept.inherit(asked.iter().flat_map(|n| [at(*n), node_port(*n)]));
        for (n, (extent, is_closed, is_open)) in (0..12).zip(before) {
            let is_asked = asked.contains(&n);
            let departs = is_asked && extent != Some(Extent::Whole);
            prop_assert_eq!(told.contains(&ip(n)), departs);
            let wanted = extent.or(departs.then_some(Extent::Fronts));
            prop_assert_eq!(kept.extent(ip(n)), wanted);
            let is_gone = wanted == Some(Extent::Fronts);
            prop_assert_eq!(kept.now().is_departed(ip(n).into()), is_gone);
            let closes = is_closed || is_asked && !is_open;
            prop_assert_eq!(kept.now().is_closed(&node_port(n)), closes);
        }
        // And what comes back is a Service's.
        for n in 0..12 {
            moved(&mut kept, n, true);
            prop_assert_eq!(kept.extent(ip(n)), Some(Extent::Whole));
            prop_assert!(!kept.now().is_closed(&node_port(n)));
        }
    }
}

fn is_open(kept: &KeptServices, n: u16) -> bool {
    kept.now().find(&node_port(n)).is_some()
}

#[test]
fn of_more_that_is_inherited_than_is_kept_who_spoke_last_is_and_services_take_no_room() {
    let most = u16::try_from(DEPARTED_MAX).unwrap();
    let mut kept = KeptServices::default();
    for n in most..most * 2 {
        moved(&mut kept, n, true);
    }
    let version = kept.now().version();
    let at = |n: u16| FrontKey { address: ip(n).into(), port: 80, number: 6 };
    // Those asked last are Services still.
    let told = kept.inherit((0..most * 2).map(at));
    assert_eq!(told, (0..most).map(ip).collect::<Vec<_>>());
    assert!(kept.now().version() != version);
    assert!((0..most).all(|n| kept.now().is_departed(ip(n).into())));
    let told = kept.inherit([at(most * 2)]);
    assert_eq!(told, [ip(0), ip(most * 2)]);
    assert!(!kept.now().is_departed(ip(0).into()));
    let version = kept.now().version();
    assert!(kept.inherit([at(most)]).is_empty());
    assert_eq!(kept.now().version(), version, "a Service's: nothing is different");
}
