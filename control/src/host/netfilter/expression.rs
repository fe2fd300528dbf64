//! What a rule of `nf_tables` is made of: each expression as the kernel takes it.
//!
//! One register is enough: each condition loads a value into it and compares it at once. Only a
//! protocol with its port are two, one behind the other.

use std::net::{IpAddr, SocketAddr};

use super::attribute::Attribute;
use super::family::Family;

/// The register that every condition uses: the first of sixteen bytes.
const REGISTER: u32 = 1;

/// The register behind it, for a port beside an address.
const REGISTER_OF_PORT: u32 = 2;

/// The register that says what becomes of the packet.
const REGISTER_OF_VERDICT: u32 = 0;
/// `NF_DROP`.
const VERDICT_DROP: u32 = 0;

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
/// Four bytes behind the start of [`REGISTER`].
const REGISTER_BEHIND: u32 = 9;

const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_OF_SOURCE: u32 = 1;
const FIB_OF_TARGET: u32 = 2;
/// `RTN_LOCAL`: the kernel compares it in its own byte order.
const LOCAL: u32 = 2;
const NAT_SOURCE: u32 = 0;
const NAT_TARGET: u32 = 1;
const CONNECTION_STATUS: u32 = 2;
/// `IPS_DST_NAT`, which the kernel keeps in its own byte order.
const WAS_LED: u32 = 1 << 5;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`: two connections that open at once get no port twice.
const RANDOM_FULLY: u32 = 1 << 4;

/// How a value is compared.
#[derive(Clone, Copy, Debug)]
enum Compare {
    Equal = 0,
    Other = 1,
}

/// The expressions of a rule, in their order.
#[derive(Clone, Debug, Default)]
pub(in crate::host) struct Expressions(Vec<Vec<Attribute>>);

impl Expressions {
    /// They are for packets of this family.
    pub(in crate::host) fn of(family: Family) -> Self {
        let mut own = Self::default();
        own.meta(META_NFPROTO);
        own.compare(Compare::Equal, &[family.protocol()]);
        own
    }

    /// The packet came in by this interface.
    pub(in crate::host) fn came_by(mut self, interface: &str) -> Self {
        self.interface(META_IIFNAME, Compare::Equal, interface);
        self
    }

    /// The packet leaves by this interface.
    pub(in crate::host) fn leaves_by(mut self, interface: &str) -> Self {
        self.interface(META_OIFNAME, Compare::Equal, interface);
        self
    }

    /// The packet leaves by another interface.
    pub(in crate::host) fn leaves_not_by(mut self, interface: &str) -> Self {
        self.interface(META_OIFNAME, Compare::Other, interface);
        self
    }

    /// The packet's source is an address of this machine.
    pub(in crate::host) fn source_is_local(mut self) -> Self {
        self.is_local(FIB_OF_SOURCE);
        self
    }

    /// The packet's target is an address of this machine.
    pub(in crate::host) fn target_is_local(mut self) -> Self {
        self.is_local(FIB_OF_TARGET);
        self
    }

    /// The packet's source is this address.
    pub(in crate::host) fn source_is(mut self, address: IpAddr) -> Self {
        let family = Family::of(address);
        self.load_address(family, family.source_offset());
        self.compare(Compare::Equal, &Family::octets(address));
        self
    }

    /// The packet's target is this address.
    pub(in crate::host) fn target_is(mut self, address: IpAddr) -> Self {
        let family = Family::of(address);
        self.load_address(family, family.target_offset());
        self.compare(Compare::Equal, &Family::octets(address));
        self
    }

    /// The packet's target is what its sender wrote: nobody led it elsewhere.
    pub(in crate::host) fn target_is_as_written(mut self) -> Self {
        let status = [Attribute::number(1, REGISTER), Attribute::number(2, CONNECTION_STATUS)];
        self.add("ct", status);
        let masked = [
            Attribute::number(1, REGISTER),
            Attribute::number(2, REGISTER),
            Attribute::number(3, 4),
            Attribute::nest(4, [Attribute::bytes(1, WAS_LED.to_ne_bytes())]),
            Attribute::nest(5, [Attribute::bytes(1, [0; 4])]),
        ];
        self.add("bitwise", masked);
        self.compare(Compare::Equal, &[0; 4]);
        self
    }

    /// The packet's protocol and the port that it is for are in a set, or are not.
    pub(in crate::host) fn port(mut self, set: &str, is_in: bool) -> Self {
        self.meta(META_L4PROTO);
        self.load_port(REGISTER_BEHIND);
        self.look_up(set, is_in);
        self
    }

    /// The packet is of this protocol and for this port.
    pub(in crate::host) fn port_is(mut self, protocol: u8, port: u16) -> Self {
        self.meta(META_L4PROTO);
        self.compare(Compare::Equal, &[protocol]);
        self.load_port(REGISTER);
        self.compare(Compare::Equal, &port.to_be_bytes());
        self
    }

    /// The packet's source is in a set, or is not.
    pub(in crate::host) fn source(mut self, family: Family, set: &str, is_in: bool) -> Self {
        self.address(family, family.source_offset(), set, is_in);
        self
    }

    /// The packet's target is in a set, or is not.
    pub(in crate::host) fn target(mut self, family: Family, set: &str, is_in: bool) -> Self {
        self.address(family, family.target_offset(), set, is_in);
        self
    }

    /// Then its source becomes this address.
    pub(in crate::host) fn source_becomes(self, address: IpAddr) -> Vec<Attribute> {
        self.becomes(NAT_SOURCE, address, None)
    }

    /// Then its target becomes this address, at the same port.
    pub(in crate::host) fn target_becomes(self, address: IpAddr) -> Vec<Attribute> {
        self.becomes(NAT_TARGET, address, None)
    }

    /// Then its target becomes this address and port.
    pub(in crate::host) fn target_becomes_both(self, to: SocketAddr) -> Vec<Attribute> {
        self.becomes(NAT_TARGET, to.ip(), Some(to.port()))
    }

    /// Then it is counted and goes no further.
    pub(in crate::host) fn stops(mut self) -> Vec<Attribute> {
        self.add("counter", Vec::new());
        let drop = Attribute::nest(2, [Attribute::number(1, VERDICT_DROP)]);
        let verdict = [Attribute::number(1, REGISTER_OF_VERDICT), Attribute::nest(2, [drop])];
        self.add("immediate", verdict);
        self.finish()
    }

    fn becomes(mut self, which: u32, address: IpAddr, port: Option<u16>) -> Vec<Attribute> {
        let family = Family::of(address);
        self.immediate(REGISTER, &Family::octets(address));
        let mut attributes = vec![
            Attribute::number(1, which),
            Attribute::number(2, family.protocol().into()),
            Attribute::number(3, REGISTER),
        ];
        if let Some(port) = port {
            self.immediate(REGISTER_OF_PORT, &port.to_be_bytes());
            attributes.push(Attribute::number(5, REGISTER_OF_PORT));
        }
        self.add("nat", attributes);
        self.finish()
    }

    /// Then its source becomes an address of the interface that it leaves by.
    pub(in crate::host) fn masquerade(mut self) -> Vec<Attribute> {
        self.add("masq", [Attribute::number(1, RANDOM_FULLY)]);
        self.finish()
    }

    /// As a rule has them.
    fn finish(self) -> Vec<Attribute> {
        const RULE_EXPRESSIONS: u16 = 4;
        vec![Attribute::list(RULE_EXPRESSIONS, self.0)]
    }

    fn add(&mut self, name: &str, attributes: impl Into<Vec<Attribute>>) {
        self.0.push(vec![Attribute::text(1, name), Attribute::nest(2, attributes)]);
    }

    fn meta(&mut self, key: u32) {
        self.add("meta", [Attribute::number(1, REGISTER), Attribute::number(2, key)]);
    }

    fn immediate(&mut self, register: u32, value: &[u8]) {
        let data = [Attribute::bytes(1, value)];
        self.add("immediate", [Attribute::number(1, register), Attribute::nest(2, data)]);
    }

    /// The port that the packet is for.
    fn load_port(&mut self, register: u32) {
        let payload = [
            Attribute::number(1, register),
            Attribute::number(2, TRANSPORT_HEADER),
            Attribute::number(3, 2),
            Attribute::number(4, 2),
        ];
        self.add("payload", payload);
    }

    fn compare(&mut self, how: Compare, value: &[u8]) {
        let attributes = [
            Attribute::number(1, REGISTER),
            Attribute::number(2, how as u32),
            Attribute::nest(3, [Attribute::bytes(1, value)]),
        ];
        self.add("cmp", attributes);
    }

    fn interface(&mut self, which: u32, how: Compare, name: &str) {
        /// `IFNAMSIZ`: a name is compared with the zeros behind it.
        const NAME_BYTES: usize = 16;
        let mut name = name.as_bytes().to_vec();
        name.resize(NAME_BYTES, 0);
        self.meta(which);
        self.compare(how, &name);
    }

    fn address(&mut self, family: Family, offset: u32, set: &str, is_in: bool) {
        self.load_address(family, offset);
        self.look_up(set, is_in);
    }

    fn is_local(&mut self, of: u32) {
        let attributes = [
            Attribute::number(1, REGISTER),
            Attribute::number(2, FIB_ADDRESS_TYPE),
            Attribute::number(3, of),
        ];
        self.add("fib", attributes);
        self.compare(Compare::Equal, &LOCAL.to_ne_bytes());
    }

    fn load_address(&mut self, family: Family, offset: u32) {
        let payload = [
            Attribute::number(1, REGISTER),
            Attribute::number(2, NETWORK_HEADER),
            Attribute::number(3, offset),
            Attribute::number(4, family.address_bytes()),
        ];
        self.add("payload", payload);
    }

    fn look_up(&mut self, set: &str, is_in: bool) {
        let lookup = [
            Attribute::text(1, set),
            Attribute::number(2, REGISTER),
            // `NFT_LOOKUP_F_INV`.
            Attribute::number(5, u32::from(!is_in)),
        ];
        self.add("lookup", lookup);
    }
}
