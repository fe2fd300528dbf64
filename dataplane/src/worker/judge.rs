//! May this packet pass? Connections first, policy where they do not know. Hot path.
//!
//! Replies to a known connection are not judged by their own key: that is what makes the switch
//! stateful. A connection judged under an older epoch is judged again, in the direction that
//! opened it. What is denied opens nothing (house D8).

use super::admit::Admitted;
use super::route::{Asked, Route, Side};
use super::{Established, Path};
use crate::connection::{ConnectionId, Connections, Opening, Spot, Way};
use crate::counters::DropReason;
use crate::endpoint::OwnNode;
use crate::event::{Notes, Outcome, Sample, Sampled};
use crate::ids::{EndpointId, WorkerId};
use crate::limits::ETHERNET_BYTES;
use crate::packet::FlowKey;
use crate::packet::parse::Kind;
use crate::policy::ruleset::{Direction, Service};
use crate::policy::table::{Audit, Decision, PolicySetId, Query, Sets};
use crate::publish::Snapshot;
use crate::service::own::as_itself;

impl<P, M> Path<P, M> {
    /// Judges one admitted packet of a connection that this worker owns. Where it goes back to who
    /// asked a Service, gives the worker that knows which.
    #[inline]
    pub(super) fn judge(
        &mut self,
        snapshot: &Snapshot,
        packet: &Admitted,
        (spot, likely): (Spot, ConnectionId),
    ) -> Result<Option<WorkerId>, DropReason> {
        if let Kind::IcmpError { inner } = packet.headers.kind {
            return self.judge_error(snapshot, packet, &inner, spot);
        }
        let found = self.connections.find_likely(&packet.headers, spot, likely);
        if let Some((id, way)) = found {
            let renewed =
                self.connections.is_over(id) && Connections::opens(&packet.headers.kind).is_some();
            if !renewed && self.is_between(id, way, &packet.route.source, &packet.route.target) {
                let translator = self.known(snapshot, packet, id, way)?;
                if way == Way::Opening && packet.route.translator() != translator {
                    self.meet(packet, id)?;
                }
                leaves(packet)?;
                self.connections.touch(id, way, &packet.headers, self.now);
                return Ok(translator.filter(|_| way == Way::Reply));
            }
            if renewed {
                self.renew(snapshot, packet, id)?;
            } else if self.is_early(snapshot, id) {
                return Err(DropReason::NoConnection);
            } else {
                // Another pod has the address now (NP-54).
                self.connections.remove(id);
            }
        }
        self.fresh(snapshot, packet, spot).map(|()| None)
    }

    /// A packet of no known connection: policy decides whether it opens one.
    #[inline]
    fn fresh(
        &mut self,
        snapshot: &Snapshot,
        packet: &Admitted,
        spot: Spot,
    ) -> Result<(), DropReason> {
        let headers = &packet.headers;
        let Some(state) = Connections::opens(&headers.kind) else {
            return self.pick_up(snapshot, packet, spot);
        };
        let (source, target) = (&packet.route.source, &packet.route.target);
        if packet.route.asked == Asked::Own {
            return Err(DropReason::NotForUs);
        }
        let decision = decide(snapshot, source, target, &headers.key);
        if !decision.allows() {
            return Err(self.denied(snapshot, source, target, &headers.key, decision));
        }
        leaves(packet)?;
        let opening = Opening {
            source: source.endpoint,
            target: target.endpoint,
            epoch: snapshot.epoch,
            holder: packet.route.holder(),
            state,
        };
        match self.connections.open(&headers.key, spot, opening, headers, self.now) {
            Ok(id) if packet.route.asked == Asked::Translated => {
                self.connections.set_translator(id, packet.route.translator());
            }
            Ok(_) => {}
            Err(reason) => {
                let outcome = Outcome::Dropped(reason);
                self.sample(snapshot, source, target, &headers.key, outcome, Notes::default());
                return Err(reason);
            }
        }
        self.counters.opened.add(1);
        snapshot.policy.count(self.id, Direction::Egress, decision.egress);
        snapshot.policy.count(self.id, Direction::Ingress, decision.ingress);
        if snapshot.policy.is_audited() {
            let notes = self.audit(snapshot, source, target, &headers.key, decision);
            if notes.is_any() {
                self.sample(snapshot, source, target, &headers.key, Outcome::Opened, notes);
            }
        }
        Ok(())
    }

    /// A new connection begins where another is over.
    fn renew(
        &mut self,
        snapshot: &Snapshot,
        packet: &Admitted,
        id: ConnectionId,
    ) -> Result<(), DropReason> {
        let Route { source, target, .. } = &packet.route;
        self.connections.renew(id, packet.route.holder(), self.now).inspect_err(|&reason| {
            let outcome = Outcome::Dropped(reason);
            self.sample(snapshot, source, target, &packet.headers.key, outcome, Notes::default());
        })
    }

    /// A packet of a known connection: its verdict holds while its epoch does. Gives who translates
    /// it.
    #[inline]
    fn known(
        &mut self,
        snapshot: &Snapshot,
        packet: &Admitted,
        id: ConnectionId,
        way: Way,
    ) -> Result<Option<WorkerId>, DropReason> {
        let record = self.connections.record(id);
        if !record.allowed || record.epoch != snapshot.epoch {
            self.again(snapshot, packet, id, way)?;
        }
        Ok(record.translator)
    }

    /// A packet of a connection whose verdict is of an older epoch, or is a denial: judged again,
    /// in the direction that opened it.
    #[inline(never)]
    fn again(
        &mut self,
        snapshot: &Snapshot,
        packet: &Admitted,
        id: ConnectionId,
        way: Way,
    ) -> Result<(), DropReason> {
        let record = self.connections.record(id);
        let (opener, other) = match way {
            Way::Opening => (&packet.route.source, &packet.route.target),
            Way::Reply => (&packet.route.target, &packet.route.source),
        };
        // What was allowed by another process's rules was allowed by none of ours.
        let is_kept = self.established == Established::Keep && !record.is_unjudged();
        if record.allowed && is_kept {
            self.connections.restamp(id, snapshot.epoch, true);
            return Ok(());
        }
        let opening = record.opening;
        let decision = decide(snapshot, opener, other, &opening);
        if record.epoch != snapshot.epoch {
            self.connections.restamp(id, snapshot.epoch, decision.allows());
            self.counters.rejudged.add(1);
        }
        if decision.allows() {
            return Ok(());
        }
        Err(self.denied(snapshot, opener, other, &opening, decision))
    }

    /// An ICMP error passes with the connection that it is about, against its direction, and
    /// changes nothing (NP-25).
    #[cold]
    fn judge_error(
        &mut self,
        snapshot: &Snapshot,
        packet: &Admitted,
        inner: &FlowKey,
        spot: Spot,
    ) -> Result<Option<WorkerId>, DropReason> {
        // The quoted packet went from this error's target to its source, or to somewhere behind.
        if inner.source != packet.headers.key.target {
            return Err(DropReason::NoConnection);
        }
        let (id, way) =
            self.connections.find_quoted(inner, spot).ok_or(DropReason::NoConnection)?;
        if !self.is_between(id, way, &packet.route.target, &packet.route.source) {
            return Err(DropReason::NoConnection);
        }
        // `known` looks from the packet's side, and the error runs against what it quotes.
        let against = match way {
            Way::Opening => Way::Reply,
            Way::Reply => Way::Opening,
        };
        let translator = self.known(snapshot, packet, id, against)?;
        leaves(packet)?;
        Ok(translator.filter(|_| against == Way::Reply))
    }

    /// Whether the connection found is still between these two: addresses change hands (NP-54).
    #[inline]
    fn is_between(&self, id: ConnectionId, way: Way, source: &Side, target: &Side) -> bool {
        let record = self.connections.record(id);
        let (opener, other) = match way {
            Way::Opening => (source, target),
            Way::Reply => (target, source),
        };
        record.source == opener.endpoint && record.target == other.endpoint
    }

    /// The reason of a denial, counted for the policies of that side; some of them are shown to
    /// control.
    #[cold]
    fn denied(
        &mut self,
        snapshot: &Snapshot,
        source: &Side,
        target: &Side,
        key: &FlowKey,
        decision: Decision,
    ) -> DropReason {
        let (reason, direction, verdict) = if decision.egress.is_allow() {
            (DropReason::IngressDenied, Direction::Ingress, decision.ingress)
        } else {
            (DropReason::EgressDenied, Direction::Egress, decision.egress)
        };
        snapshot.policy.count(self.id, direction, verdict);
        let notes = if snapshot.policy.is_audited() {
            self.audit(snapshot, source, target, key, decision)
        } else {
            Notes::default()
        };
        self.sample(snapshot, source, target, key, Outcome::Dropped(reason), notes);
        reason
    }

    /// Asks what is not in force and what is to be recorded of a packet that was denied or opened a
    /// connection, and counts of each side what would have decided otherwise.
    #[cold]
    fn audit(
        &self,
        snapshot: &Snapshot,
        source: &Side,
        target: &Side,
        key: &FlowKey,
        decision: Decision,
    ) -> Notes {
        let of = |side: &Side, address| {
            let known = side.endpoint.and_then(|pod| snapshot.endpoints.audit(pod, address));
            known.unwrap_or(Audit { next: side.sets, ..Audit::default() })
        };
        let (opener, other) = (of(source, key.source), of(target, key.target));
        let in_log = [opener.log.egress, other.log.ingress];
        let log = decide_by(snapshot, source, target, key, in_log);
        let next =
            decide_by(snapshot, source, target, key, [opener.next.egress, other.next.ingress]);
        let sides = [
            (Direction::Egress, decision.egress, next.egress),
            (Direction::Ingress, decision.ingress, next.ingress),
        ];
        for (direction, now, next) in sides {
            // Who denies already, and would, tells nothing by it.
            if now != next && (now.is_allow() || next.is_allow()) {
                snapshot.policy.count_next(self.id, direction, next);
            }
            if !next.is_allow() {
                break;
            }
        }
        // What the source's side drops, the target's is not asked about.
        let ingress = decision.egress.is_allow() && log.ingress.is_logged();
        let logged = log.egress.is_logged() || ingress;
        Notes { logged, staged: next.allows() != decision.allows() }
    }

    /// Shows control a packet, if it is one of those to be shown.
    #[cold]
    fn sample(
        &mut self,
        snapshot: &Snapshot,
        source: &Side,
        target: &Side,
        key: &FlowKey,
        outcome: Outcome,
        notes: Notes,
    ) {
        let at = self.now;
        let sample = || Sample {
            at,
            key: *key,
            outcome,
            notes,
            source: source.endpoint,
            target: target.endpoint,
            generation: snapshot.generation,
        };
        if self.sampler.tell(key, at, &self.events, sample) == Sampled::Lost {
            self.counters.events_lost.add(1);
        }
    }
}

/// Asks policy about a flow, in the direction that opens the connection.
#[inline]
pub(super) fn decide(snapshot: &Snapshot, opener: &Side, other: &Side, key: &FlowKey) -> Decision {
    decide_by(snapshot, opener, other, key, [opener.sets.egress, other.sets.ingress])
}

/// The same of these policy sets: the opener's for egress, the other's for ingress.
#[inline]
fn decide_by(
    snapshot: &Snapshot,
    opener: &Side,
    other: &Side,
    key: &FlowKey,
    [egress, ingress]: [PolicySetId; 2],
) -> Decision {
    if let Some(pod) = opener.endpoint.filter(|_| opener.endpoint == other.endpoint) {
        let sets = of_itself(snapshot, pod, key);
        return ask(snapshot, opener, other, key, [sets.egress, sets.ingress]);
    }
    // Unless set so, a node to its own pods is nobody's business (NP-40, CNP-14).
    let is_exempt = opener.node == Some(OwnNode::Exempt);
    let ingress = if is_exempt { PolicySetId::NONE } else { ingress };
    ask(snapshot, opener, other, key, [egress, ingress])
}

/// What decides on what a pod sends to itself: nobody (NP-42), but what a Service brings back to it is
/// judged by the tiers of the cluster (CNP-15). That bears an address of the switch, as no pod's own
/// packet does.
#[cold]
fn of_itself(snapshot: &Snapshot, pod: EndpointId, key: &FlowKey) -> Sets {
    if key.source != as_itself(key.target) {
        return Sets::NONE;
    }
    snapshot.endpoints.audit(pod, key.target).map_or(Sets::NONE, |audit| audit.itself)
}

/// Asks these policy sets.
#[inline]
fn ask(
    snapshot: &Snapshot,
    opener: &Side,
    other: &Side,
    key: &FlowKey,
    [egress, ingress]: [PolicySetId; 2],
) -> Decision {
    snapshot.policy.decide(&Query {
        egress,
        target_class: other.class,
        ingress,
        source_class: opener.class,
        service: Service {
            protocol: key.protocol,
            port: key.target_port,
            source_port: key.source_port,
        },
    })
}

/// Whether a permitted packet can leave: it may live one more hop, and fits.
#[inline]
pub(super) fn leaves(packet: &Admitted) -> Result<(), DropReason> {
    if packet.headers.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let length_bytes = usize::from(packet.headers.end).saturating_sub(ETHERNET_BYTES);
    if length_bytes > usize::from(packet.route.exit.mtu) {
        return Err(DropReason::TooBig);
    }
    Ok(())
}
