//! A protocol of the switch as it is kept: its place among all of them.

use lockgate_dataplane::packet::Protocol;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn serialize<S: Serializer>(protocol: &Protocol, to: S) -> Result<S::Ok, S::Error> {
    let place = (0..).zip(Protocol::ALL).find(|(_, one)| one == protocol);
    to.serialize_u8(place.map_or(u8::MAX, |(place, _)| place))
}

pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Protocol, D::Error> {
    let place = usize::from(u8::deserialize(from)?);
    let protocol = Protocol::ALL.get(place).copied();
    protocol.ok_or_else(|| D::Error::custom(format!("{place} is the place of no protocol")))
}
