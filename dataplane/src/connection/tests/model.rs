//! What the table should be: a map, searched from end to end.

use super::*;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) key: FlowKey,
    pub(super) state: State,
    pub(super) seen: u64,
    pub(super) epoch: Epoch,
    pub(super) allowed: bool,
    pub(super) holder: Holder,
    /// When it became evictable.
    joined: u64,
    track: tcp::Track,
    tags: [u32; 2],
}

/// By asker, in the life of its share.
type GaveWay = BTreeMap<(EndpointId, u64), (u32, bool)>;

pub(super) struct Model {
    pub(super) known: BTreeMap<u64, Known>,
    capacity: usize,
    bounds: Bounds,
    /// Who has a share, in which seat, and since when it was seen to have no port there.
    shares: BTreeMap<EndpointId, (Seat, Option<u64>)>,
    /// How many gave way in a window for each pod that asked, or for who is outside to it; and
    /// whether it was refused any.
    /// Who has lost its share meanwhile and asks again is another.
    gave_way: BTreeMap<(bool, u64), GaveWay>,
    lives: BTreeMap<EndpointId, u64>,
    ever: u64,
}

/// What a new connection asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Room {
    Free,
    /// One of these goes.
    After(Vec<u64>),
    None(DropReason),
}

impl Model {
    pub(super) fn new(capacity: usize, bounds: Bounds) -> Self {
        let (known, shares) = (BTreeMap::new(), BTreeMap::new());
        Self {
            known,
            capacity,
            bounds,
            shares,
            gave_way: BTreeMap::new(),
            lives: BTreeMap::new(),
            ever: 0,
        }
    }

    fn held(&self, holder: EndpointId) -> impl Iterator<Item = (u64, &Known)> {
        let known = self.known.iter().map(|(&id, known)| (id, known));
        known.filter(move |(_, known)| known.holder.endpoint == holder)
    }

    /// The one that has been evictable for longest, of a pod.
    fn oldest(&self, holder: EndpointId) -> Option<u64> {
        let evictable = self.held(holder).filter(|(_, known)| known.is_evictable());
        evictable.min_by_key(|(_, known)| known.joined).map(|(id, _)| id)
    }

    /// Where a new one of this pod finds room: the rules of `share`, read aloud. Of several that are
    /// heaviest the table chooses one, and some may give way where others may not: `was_full` is
    /// whether it chose one that may not.
    pub(super) fn room(&mut self, whose: Holder, now: u64, was_full: bool) -> Room {
        let holder = whose.endpoint;
        let Bounds { per_pod, evictable_max, reserved, .. } = self.bounds;
        let has = self.held(holder).count();
        if has >= per_pod as usize {
            let own = self.oldest(holder).map(|id| self.after(whose, now, vec![id]));
            return own.unwrap_or(Room::None(DropReason::ConnectionsLimit));
        }
        let evictable = self.known.values().filter(|known| known.is_evictable()).count();
        let free = self.capacity - self.known.len();
        let sharers = self.shares.len() + usize::from(!self.shares.contains_key(&holder));
        let part = (reserved as usize / sharers.max(256)).max(1);
        let is_reserved = free <= reserved as usize && has >= part;
        if free > 0 && evictable < evictable_max as usize && !is_reserved {
            return Room::Free;
        }
        let weight = |of: EndpointId| self.held(of).filter(|(_, k)| k.is_evictable()).count();
        let most = self.shares.keys().map(|&of| weight(of)).max().unwrap_or(0);
        let heaviest = self.shares.keys().filter(|&&of| most > 0 && weight(of) == most);
        let (may, may_not): (Vec<_>, Vec<_>) =
            heaviest.partition(|&&of| of == holder || !is_reserved || self.held(of).count() > part);
        let oldest: Vec<u64> = may.into_iter().filter_map(|&of| self.oldest(of)).collect();
        if oldest.is_empty() || was_full && !may_not.is_empty() {
            Room::None(DropReason::ConnectionsFull)
        } else {
            self.after(whose, now, oldest)
        }
    }

    fn after(&mut self, whose: Holder, now: u64, some: Vec<u64>) -> Room {
        let weight = |of: EndpointId| self.held(of).filter(|(_, k)| k.is_evictable()).count();
        let victim = self.known[&some[0]].holder.endpoint;
        let is_light = weight(whose.endpoint) < weight(victim) / 2;
        if is_light || self.may_turn_over(whose, now) {
            Room::After(some)
        } else {
            Room::None(DropReason::ConnectionsLimit)
        }
    }

    pub(super) fn push_out(&mut self, gone: u64) {
        self.known.remove(&gone);
    }

    /// What gives way in a window of four milliseconds is parted among those who ask, pods apart
    /// from who is outside: each has what the others left of the window before, of those who were
    /// refused then an equal part; or what is an equal part of all. The most who asked, and who were
    /// refused, are reckoned with in their row of sixteen windows and the next.
    fn may_turn_over(&mut self, whose: Holder, now: u64) -> bool {
        let all = self.bounds.turnover_per_ms.saturating_mul(4);
        let all = if whose.opens { all } else { all.div_ceil(2) };
        let now = now / 4;
        let windows = self.gave_way.iter().filter(|(of, _)| of.0 == whose.opens && of.1 < now);
        let windows: Vec<(u64, &GaveWay)> = windows.map(|(of, all)| (of.1, all)).collect();
        let number = |some: usize| u32::try_from(some).expect("few");
        let refused = |all: &GaveWay| number(all.values().filter(|it| it.1).count());
        let recent = || windows.iter().filter(|(at, _)| at / 16 + 1 >= now / 16);
        let askers = recent().map(|(_, all)| number(all.len())).max().unwrap_or(0);
        let hungry = recent().map(|(_, all)| refused(all)).max().unwrap_or(0);
        let last = windows.last().filter(|(at, _)| at + 1 == now);
        let sated = last.map_or(0, |(_, all)| all.values().filter(|it| !it.1).map(|it| it.0).sum());
        let left = all - sated.min(all);
        let level = (left / hungry.max(1)).max(all / askers.max(1)).max(1);

        let this = self.gave_way.entry((whose.opens, now)).or_default();
        let asker = (whose.endpoint, self.lives.get(&whose.endpoint).copied().unwrap_or(0));
        this.entry(asker).or_insert((0, false));
        let equal = (all / askers.max(u32::try_from(this.len()).expect("few"))).max(1);
        let taken = this.values().map(|it| it.0).sum::<u32>();
        let (had, was_refused) = this.get_mut(&asker).expect("it asks");
        let may = if taken < all {
            *had < level
        } else {
            let late = if hungry > 0 { left / (hungry + 1) } else { 0 };
            *had == 0 || *had < equal.max(late) && taken < all.saturating_mul(2)
        };
        *had += u32::from(may);
        *was_refused |= !may;
        may
    }

    /// A connection that is over gives way to one of this pod, if it may.
    pub(super) fn renew(&mut self, over: u64, holder: Holder, now: u64) -> Result<(), DropReason> {
        self.note(holder);
        if !self.may_turn_over(holder, now) {
            return Err(DropReason::ConnectionsLimit);
        }
        self.known.remove(&over);
        Ok(())
    }

    /// All shares have been visited and all records swept, while pods have these ports.
    pub(super) fn settle(&mut self, now: u64, ports: &BTreeMap<EndpointId, Seat>) {
        for (holder, (seat, away)) in std::mem::take(&mut self.shares) {
            let place = ports.get(&holder).copied();
            let has = self.held(holder).next().is_some();
            let stays = match away {
                _ if place == Some(seat) => Some((seat, None)),
                _ if !has => None,
                None => Some((seat, Some(now))),
                Some(since) if now - since < 60_000 => Some((seat, Some(since))),
                Some(_) => place.map(|other| (other, None)),
            };
            if let Some(stays) = stays {
                self.shares.insert(holder, stays);
            } else {
                self.known.retain(|_, known| known.holder.endpoint != holder);
                *self.lives.entry(holder).or_default() += 1;
            }
        }
    }

    pub(super) fn find(&self, packet: &Headers) -> Option<(u64, Way)> {
        let way_of = |known: &Known| match packet.kind {
            _ if known.key.number != packet.key.number => None,
            Kind::Echo { reply: false } if known.is_echo() => {
                (known.key == packet.key).then_some(Way::Opening)
            }
            Kind::Echo { reply: true } if known.is_echo() => {
                (known.key == packet.key.reversed()).then_some(Way::Reply)
            }
            Kind::Echo { .. } | Kind::IcmpError { .. } | Kind::LinkOnly => None,
            Kind::Portless if known.is_echo() => None,
            _ if known.key == packet.key => Some(Way::Opening),
            Kind::Portless if packet.key.protocol.has_messages() => None,
            _ if known.key == packet.key.reversed() => Some(Way::Reply),
            _ => None,
        };
        self.known.iter().find_map(|(&id, known)| Some((id, way_of(known)?)))
    }

    /// A pod has asked for a connection, whatever came of it.
    pub(super) fn note(&mut self, holder: Holder) {
        let share = self.shares.entry(holder.endpoint).or_insert((holder.seat, None));
        if share.0 != holder.seat {
            *share = (holder.seat, None);
        }
    }

    /// There is room.
    pub(super) fn open(
        &mut self,
        packet: &Headers,
        holder: Holder,
        now: u64,
    ) -> Result<(), DropReason> {
        let state = match packet.kind {
            Kind::Tcp(header) if tcp::is_opening(&header) => State::SynSent,
            Kind::Udp => State::UdpUnreplied,
            Kind::Echo { reply: false } => State::IcmpUnreplied,
            Kind::Sctp { first_chunk: sctp::INIT, .. } => State::SctpOpening,
            Kind::Portless => State::OtherUnreplied,
            _ => return Err(DropReason::NoConnection),
        };
        self.note(holder);
        self.ever += 1;
        let track = match packet.kind {
            Kind::Tcp(header) => tcp::open(&header),
            _ => tcp::Track::BLANK,
        };
        let known = Known {
            key: packet.key,
            state,
            seen: now,
            epoch: OPENING.epoch,
            allowed: true,
            holder,
            joined: self.ever,
            track,
            tags: [0; 2],
        };
        self.known.insert(self.ever, known);
        Ok(())
    }

    pub(super) fn touch(&mut self, id: u64, way: Way, packet: &Headers, now: u64) {
        self.ever += 1;
        let known = self.known.get_mut(&id).expect("found");
        let was_evictable = known.is_evictable();
        let mut is_alive = true;
        known.state = match (known.state, way, packet.kind) {
            (state, _, Kind::Tcp(header)) => {
                let step = tcp::step(state, &mut known.track, way, &header);
                is_alive = step.is_alive;
                step.state
            }
            (state, way, Kind::Sctp { first_chunk, verification_tag }) => {
                is_alive = !state.is_over();
                sctp::step(state, &mut known.tags, way, first_chunk, verification_tag)
            }
            (State::UdpUnreplied, Way::Reply, _) => State::UdpStream,
            (State::IcmpUnreplied, Way::Reply, _) => State::IcmpReplied,
            (State::OtherUnreplied, Way::Reply, _) => State::OtherReplied,
            (state, ..) => state,
        };
        if is_alive {
            known.seen = now;
        }
        if known.is_evictable() && !was_evictable {
            known.joined = self.ever;
        }
    }

    pub(super) fn restamp(&mut self, id: u64, epoch: Epoch, allowed: bool) {
        self.ever += 1;
        let known = self.known.get_mut(&id).expect("picked");
        let was_evictable = known.is_evictable();
        (known.epoch, known.allowed) = (epoch, allowed);
        if known.is_evictable() && !was_evictable {
            known.joined = self.ever;
        }
    }

    pub(super) fn expire(&mut self, now: u64) {
        let timeouts = Timeouts::default();
        // A quarter of a second late at most: the wheel's grain.
        self.known.retain(|_, known| (known.seen + timeouts.of(known.state)) / 256 >= now / 256);
    }
}

impl Known {
    fn is_echo(&self) -> bool {
        matches!(self.state, State::IcmpUnreplied | State::IcmpReplied)
    }

    fn is_evictable(&self) -> bool {
        if !self.allowed {
            return true;
        }
        let answered = [
            State::Established,
            State::FinWait,
            State::UdpStream,
            State::IcmpReplied,
            State::SctpEstablished,
            State::OtherReplied,
        ];
        !answered.contains(&self.state)
    }
}
