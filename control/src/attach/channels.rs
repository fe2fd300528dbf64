//! How many queues an interface has, asked over generic netlink (`ETHTOOL_MSG_CHANNELS_GET`).
//!
//! Two requests by hand: the family's number, then the channels. The crates for it bring a
//! second netlink stack along. The kernel answers at once or not at all, so this blocks.

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

const HEADER_BYTES: usize = 16;
const GENERIC_BYTES: usize = 4;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;
const EOPNOTSUPP: i32 = 95;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

const ETHTOOL_MSG_CHANNELS_GET: u8 = 17;
const ETHTOOL_A_CHANNELS_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_CHANNELS_RX_COUNT: u16 = 6;
const ETHTOOL_A_CHANNELS_COMBINED_COUNT: u16 = 9;

/// Receive queues in use, `None` where the driver does not say.
pub(super) fn receive_queues(ifindex: u32) -> io::Result<Option<u32>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
    let answer = ask(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name)?;
    let family = find(&answer, CTRL_ATTR_FAMILY_ID)
        .and_then(|b| b.try_into().ok())
        .map(u16::from_ne_bytes)
        .ok_or_else(|| io::Error::other("the kernel has no ethtool netlink"))?;
    let device = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &ifindex.to_ne_bytes());
    let header = attribute(ETHTOOL_A_CHANNELS_HEADER | NLA_F_NESTED, &device);
    let answer = match ask(&socket, family, ETHTOOL_MSG_CHANNELS_GET, &header) {
        Err(error) if error.raw_os_error() == Some(EOPNOTSUPP) => return Ok(None),
        other => other?,
    };
    let count =
        |kind| find(&answer, kind).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
    // A combined channel is a receive queue and a transmit queue.
    let receive = count(ETHTOOL_A_CHANNELS_RX_COUNT);
    Ok(Some(receive.saturating_add(count(ETHTOOL_A_CHANNELS_COMBINED_COUNT))))
}

/// Sends one request and gives the attributes of its answer.
fn ask(socket: &Socket, family: u16, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
    let length = HEADER_BYTES + GENERIC_BYTES + attributes.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]); // sequence and port: one question at a time, so neither is needed
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "short netlink answer");
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    if kind.ok_or_else(short)? == NLMSG_ERROR {
        let code = answer.get(16..20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
        return Err(io::Error::from_raw_os_error(code.ok_or_else(short)?.saturating_neg()));
    }
    Ok(answer.get(HEADER_BYTES + GENERIC_BYTES..).ok_or_else(short)?.to_vec())
}

/// One attribute: length, type, value, padding to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of a kind.
fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some((&[a, b, c, d], _)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) & NLA_TYPE_MASK == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_behind_padding() {
        let bytes = [attribute(1, b"abc"), attribute(6, &7u32.to_ne_bytes())].concat();
        assert_eq!(find(&bytes, 6), Some(&7u32.to_ne_bytes()[..]));
        assert_eq!(find(&bytes, 9), None);
    }

    #[test]
    fn a_length_that_lies_ends_the_search() {
        let mut bytes = attribute(1, b"abcd");
        bytes[0] = 200;
        assert_eq!(find(&bytes, 6), None);
        bytes[0] = 0; // must not loop on the same attribute for ever
        assert_eq!(find(&bytes, 6), None);
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert!(receive_queues(u32::MAX / 2).is_err());
    }

    #[test]
    fn loopback_says_nothing_of_channels() {
        assert_eq!(receive_queues(1).ok(), Some(None));
    }
}
