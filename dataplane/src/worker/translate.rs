//! Services at the client's port: what comes in for one is given a backend, and what goes back its
//! Service's address again. Hot path.
//!
//! Both happen with one worker (decision 18), that of a pod's port or, of what came in by the host
//! port, whoever client and Service name by their addresses: before it is routed, so that
//! owner and policy see client and backend alone; and, on the way back, just before it leaves. What
//! is to no Service, or a reply to no client of one, never comes here.

use super::Path;
use super::admit::Admitted;
use super::client::{Client, at_translator, translator};
use super::mailbox::PortKind;
use super::route::{Asked, Checksums, Entrance, Route};
use super::stage::Stage;
use crate::connection::fragment::Flow;
use crate::connection::translation::Translation;
use crate::connection::{ConnectionId, Connections, Way};
use crate::counters::DropReason;
use crate::endpoint::{Endpoints, Kind as PlaceKind};
use crate::frame::{Frame, Memory};
use crate::ids::{EndpointId, PortRef, WorkerId};
use crate::packet::parse::{Content, Kind, parse_into, read_fragment};
use crate::packet::{Address, FlowKey, Headers, Protocol, rewrite, translate};
use crate::port::Port;
use crate::publish::Snapshot;
use crate::service::{Backend, Extent};

impl<P: Port, M: Memory> Path<P, M> {
    /// Takes in a whole packet for a Service, which was read last: here, or at whoever translates it.
    #[inline(never)]
    pub(super) fn stage_for_service(
        &mut self,
        mut frame: Frame,
        entrance: Entrance,
        snapshot: &Snapshot,
        staged: &mut Stage,
    ) {
        let mut packet = staged.take_unstaged();
        packet.route.asked = Asked::Plain;
        let owner = translator(&snapshot.endpoints, entrance, &packet.headers);
        if owner != self.id {
            packet.route = Route { from: entrance.from, owner, ..packet.route };
            return self.pass_on(frame, &packet);
        }
        match self.translate(&mut frame, entrance, snapshot, &mut packet) {
            Ok(()) if packet.route.owner == self.id => self.stage_read(frame, packet, staged),
            Ok(()) => self.hand_over(frame, &packet),
            Err(reason) => self.refuse(frame, &packet, reason),
        }
    }

    /// Gives a packet for a Service the address and port of its backend, and its way there. A part
    /// of a datagram has the flow of its first.
    ///
    /// # Errors
    /// Why it is dropped: then it is as it came, with a way back for whoever tells its sender.
    pub(super) fn translate(
        &mut self,
        frame: &mut Frame,
        entrance: Entrance,
        snapshot: &Snapshot,
        packet: &mut Admitted,
    ) -> Result<(), DropReason> {
        let is_part = packet.route.asked == Asked::Service;
        let entrance = at_translator(&snapshot.endpoints, self.id, entrance);
        let client = Client::of(&snapshot.endpoints, entrance, packet.headers.key.source)?;
        if self.goes_by(&snapshot.endpoints, &client, &packet.headers) {
            let key = &packet.headers.key;
            let way = client.way_to(&snapshot.endpoints, self.id, entrance, key)?;
            let checksums = if is_part { Checksums::Leave } else { way.checksums };
            packet.route = Route { asked: Asked::Plain, checksums, ..way };
            return Ok(());
        }
        packet.route = client.way_back(entrance);
        // A pod's is translated by who receives it alone: for a moment snapshots may differ.
        if entrance.from.worker != self.id || entrance.asked != Asked::Plain {
            return Err(DropReason::PortGone);
        }
        if let Kind::IcmpError { inner } = packet.headers.kind {
            return self.translate_error(frame, entrance, snapshot, packet, (&client, &inner));
        }
        let holder = packet.route.holder();
        let found = self.translations.find(&packet.headers, client.endpoint(), holder, self.now)?;
        let found = match found {
            Some(found) => self.lasting(snapshot, &packet.headers, found)?,
            None => None,
        };
        let back = match &found {
            Some(found) => found.back,
            None => self.choose(snapshot, &client, &packet.headers)?,
        };
        let mut route = client.way_to(&snapshot.endpoints, self.id, entrance, &back)?;
        if is_part {
            route.checksums = Checksums::Leave;
            keeps_sum(&packet.headers.key, &back)?;
        }
        let now = self.now;
        if let Some(found) = found {
            self.translations.touch(found.id, Way::Opening, &packet.headers, now);
        } else {
            let (holder, version) = (route.holder(), snapshot.endpoints.services().version());
            let opener = client.endpoint();
            let ends = [opener, local_at(&snapshot.endpoints, back.target)];
            self.translations.open(&packet.headers, &back, ends, holder, (version, now))?;
            self.counters.translated.add(1);
        }
        let bytes = self.memory.bytes_mut(frame);
        if entrance.kind == PortKind::Host && !is_part {
            rewrite::finish_if_unfinished(bytes, &packet.headers);
        }
        translate::flow(bytes, &packet.headers, &back);
        packet.headers.key = back;
        packet.route = route;
        Ok(())
    }

    /// Whether a pod's packet is for whom it says, though a Service has some ports of that address: no
    /// front is meant, or it answers who asked the pod from a port of the same number.
    fn goes_by(&self, endpoints: &Endpoints, client: &Client, headers: &Headers) -> bool {
        let is_shared = match endpoints.place(headers.key.target).kind {
            PlaceKind::Node(_) | PlaceKind::Service(Extent::Fronts) => true,
            PlaceKind::Service(Extent::Whole) | PlaceKind::Local(_) | PlaceKind::Outside => false,
        };
        // What came in by the host port was led here, and nowhere else.
        if !is_shared || client.endpoint().is_none() {
            return false;
        }
        // An error runs against what it quotes.
        let (key, known) = if let Kind::IcmpError { inner } = &headers.kind {
            let found = self.connections.find_quoted(inner, self.connections.spot(inner));
            (inner.reversed(), found.map(|(id, way)| (id, way.other())))
        } else {
            let spot = self.connections.spot(&headers.key);
            (headers.key, self.connections.find(headers, spot))
        };
        if known.is_some_and(|(id, way)| self.stays(id, way)) {
            return true;
        }
        if endpoints.services().find(&endpoints.front_of(&key)).is_some() {
            return false;
        }
        // Where a front was, what runs by its translation runs on; datagrams and what begins do not.
        let begins = key.protocol == Protocol::Udp || Connections::opens(&headers.kind).is_some();
        begins || self.translations.find_front(&key).is_none()
    }

    /// Whether a known connection of a pod goes on as it was opened, to whom it says, whatever Services
    /// there are by now: they take new connections, and datagrams.
    fn stays(&self, id: ConnectionId, way: Way) -> bool {
        let record = self.connections.record(id);
        let is_plain = record.translator.is_none() && record.opening.protocol != Protocol::Udp;
        (way == Way::Reply || is_plain) && !self.connections.is_over(id)
    }

    /// Translates an error of a client about what its Service sent: as the backend sent that.
    #[cold]
    fn translate_error(
        &mut self,
        frame: &mut Frame,
        entrance: Entrance,
        snapshot: &Snapshot,
        packet: &mut Admitted,
        (client, inner): (&Client, &FlowKey),
    ) -> Result<(), DropReason> {
        let found = self.translations.find_front(&inner.reversed());
        let Translation { front, back, .. } = found.ok_or(DropReason::NoConnection)?;
        let own = packet.headers.key.source;
        // Out of the host port again, an error of the node's own stack would bear an address that it
        // takes from nobody; from the switch's own it goes on as the connection does.
        let is_ours = own == front.source || client.is_apart(&snapshot.endpoints, back.target);
        let source = if is_ours { back.source } else { own };
        let route = client.way_to(&snapshot.endpoints, self.id, entrance, &back)?;
        let (outer, quoted) = ((source, back.target), back.reversed());
        let bytes = self.memory.bytes_mut(frame);
        translate::error(bytes, &packet.headers, outer, inner, &quoted);
        (packet.headers.key.source, packet.headers.key.target) = outer;
        packet.headers.kind = Kind::IcmpError { inner: quoted };
        packet.route = route;
        Ok(())
    }

    /// Whether a translation's backend is still there: `None` where another is to be chosen. Asked
    /// once under each table of services.
    fn lasting(
        &mut self,
        snapshot: &Snapshot,
        headers: &Headers,
        found: Translation,
    ) -> Result<Option<Translation>, DropReason> {
        let services = snapshot.endpoints.services();
        if found.version == services.version() {
            return Ok(Some(found));
        }
        let Translation { front, back, .. } = found;
        let backend = Backend { address: back.target, port: back.target_port };
        let target = back.target;
        let is_udp = front.protocol == Protocol::Udp;
        let front = services.find(&snapshot.endpoints.front_of(&front));
        if front.is_some_and(|front| front.serving.keeps(backend, is_udp)) {
            self.translations.stamp(found.id, services.version());
            return Ok(Some(found));
        }
        // What begins again may as well begin elsewhere.
        if is_udp || Connections::opens(&headers.kind).is_some() {
            self.translations.remove(found.id);
            return Ok(None);
        }
        // Taken out of rotation is not gone: as with kube-proxy, what runs may run to its end. Of who
        // is elsewhere nobody here knows more. Asked again each time, for a pod's end is told by no
        // table of services.
        let pod = self.translations.backend(found.id);
        let now = local_at(&snapshot.endpoints, target);
        if pod.is_none() || pod == now { Ok(Some(found)) } else { Err(DropReason::BackendGone) }
    }

    /// Sends on a reply to who asked a Service, by the worker that translated the question.
    #[inline(never)]
    pub(super) fn forward_back(
        &mut self,
        mut frame: Frame,
        packet: &Admitted,
        translator: WorkerId,
        snapshot: &Snapshot,
    ) {
        let (from, exit) = (packet.route.from, packet.route.exit.to);
        self.ready(&mut frame, packet);
        if translator == self.id {
            let is_part = packet.route.checksums == Checksums::Leave;
            if let Err(reason) = self.put_back(&mut frame, &packet.headers, is_part) {
                return self.drop_from(frame, from, reason);
            }
            return self.send_off(frame, exit, None, from);
        }
        let to = snapshot.endpoints.host().filter(|host| host.port == exit.port).and_then(|host| {
            let slot = *host.slots.get(translator.index())?;
            Some(PortRef { slot, worker: translator, ..exit })
        });
        let to = to.unwrap_or(exit);
        if to.worker != translator {
            return self.drop_from(frame, from, DropReason::PortGone);
        }
        self.send_off(frame, to, Some(Flow::of(&packet.headers.key)), from);
    }

    /// Gives a packet to a Service's client its Service's address and port again, and so what an
    /// error quotes.
    ///
    /// # Errors
    /// `NoConnection` where it is of no translation, `Fragment` as [`keeps_sum`].
    fn put_back(
        &mut self,
        frame: &mut Frame,
        headers: &Headers,
        is_part: bool,
    ) -> Result<(), DropReason> {
        let quoted = match &headers.kind {
            Kind::IcmpError { inner } => *inner,
            _ => headers.key.reversed(),
        };
        let found = self.translations.find_back(&quoted).ok_or(DropReason::NoConnection)?;
        let bytes = self.memory.bytes_mut(frame);
        let Translation { id, front, back, .. } = found;
        if let Kind::IcmpError { inner } = &headers.kind {
            // To a pod, who is on the way there speaks for itself. Beyond the host port that may be an
            // address of the node itself, which its stack takes from nobody; so the Service speaks for
            // all of them, as where conntrack translates.
            let own = headers.key.source;
            let is_ours = own == back.target || self.translations.client(id).is_none();
            let source = if is_ours { front.target } else { own };
            translate::error(bytes, headers, (source, front.source), inner, &front);
        } else {
            if is_part {
                keeps_sum(&back, &front)?;
            }
            self.translations.touch(id, Way::Reply, headers, self.now);
            translate::flow(bytes, headers, &front.reversed());
        }
        Ok(())
    }

    /// The same of a frame that nothing is known of but the flow that it is of.
    #[cold]
    pub(super) fn put_back_unread(
        &mut self,
        frame: &mut Frame,
        flow: Flow,
    ) -> Result<(), DropReason> {
        let mut headers = Headers::BLANK;
        let bytes = self.memory.bytes(frame);
        let is_part = match parse_into(bytes, &mut headers) {
            Ok(Content::Ip) => false,
            Ok(Content::Fragment) if read_fragment(bytes, &mut headers).is_ok() => {
                flow.write(&mut headers.key);
                true
            }
            _ => return Err(DropReason::NoConnection),
        };
        self.put_back(frame, &headers, is_part)
    }
}

/// The pod of this node that has an address.
fn local_at(endpoints: &Endpoints, address: Address) -> Option<EndpointId> {
    match endpoints.place(address).kind {
        PlaceKind::Local(index) => Some(endpoints.local(index).endpoint),
        _ => None,
    }
}

/// Whether a part of a datagram may become one of this flow. SCTP's checksum stands in the first part
/// and is of the whole, whose length only the last says: no port of it can be changed.
fn keeps_sum(from: &FlowKey, to: &FlowKey) -> Result<(), DropReason> {
    let ports = |key: &FlowKey| (key.source_port, key.target_port);
    if from.protocol == Protocol::Sctp && ports(from) != ports(to) {
        return Err(DropReason::Fragment);
    }
    Ok(())
}
