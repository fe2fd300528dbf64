//! What the switch's end of a pod's veth is called, and how it tells whose it is.

use crate::attach::{InterfaceName, NameError};

use super::protocol::Attachment;

/// What the name of every interface that the plugin makes begins with.
const PREFIX: &str = "lg";

/// What its alias begins with. That of the switch's own interfaces is another.
const ALIAS: &str = "lockgate-cni";

/// The 52 bits of a hash that fit a name.
const BITS: u64 = (1 << 52) - 1;

/// The name of the switch's end: it follows from the attachment alone, so that DEL and a repeated
/// ADD find what an ADD left that was killed.
///
/// # Errors
/// None: what it makes is a name.
pub fn of(attachment: &Attachment) -> Result<InterfaceName, NameError> {
    let text = format!("{}/{}", attachment.container, attachment.ifname);
    InterfaceName::new(&format!("{PREFIX}{:013x}", hash(text.as_bytes()) & BITS))
}

/// The alias that says whose it is.
#[must_use]
pub fn alias(network: &str, attachment: &Attachment) -> String {
    format!("{ALIAS} {network} {} {}", attachment.container, attachment.ifname)
}

/// Whose an alias says it is: the network, and the attachment. `None` where it is none of ours.
#[must_use]
pub fn read_alias(alias: &str) -> Option<(String, Attachment)> {
    let mut words = alias.split(' ');
    if words.next() != Some(ALIAS) {
        return None;
    }
    let (network, container) = (words.next()?.to_owned(), words.next()?.to_owned());
    let ifname = InterfaceName::new(words.next()?).ok()?;
    words.next().is_none().then_some((network, Attachment { container, ifname }))
}

/// FNV-1a: the same in every version of the plugin, which a hasher of the library need not be.
/// Runtimes choose ids at random, and whose a name is is compared besides.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(container: &str, ifname: &str) -> Attachment {
        Attachment { container: container.into(), ifname: InterfaceName::new(ifname).unwrap() }
    }

    #[test]
    fn a_name_is_the_same_for_ever_and_fits() {
        let name = of(&attachment("c1", "eth0")).unwrap();
        assert_eq!(name.as_str(), "lg7a0abdbb07ad3");
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8, "the published value of FNV-1a");
        let names: std::collections::BTreeSet<_> = (0..10_000)
            .map(|number| of(&attachment(&format!("c{number}"), "eth0")).unwrap())
            .collect();
        assert_eq!(names.len(), 10_000);
        assert_ne!(of(&attachment("c1", "eth1")).unwrap(), name);
    }

    #[test]
    fn an_alias_is_read_back_and_others_are_not_ours() {
        let given = attachment("c1", "eth0");
        assert_eq!(read_alias(&alias("pods", &given)), Some(("pods".into(), given)));
        for other in ["", "lockgate", "lockgate-cni", "lockgate-cni a b", "lockgate-cni a b c d"] {
            assert_eq!(read_alias(other), None, "{other}");
        }
        // As many words as ours has, and another's first one: a GC removes what it takes for ours.
        for first in ["", "other-cni", "lockgate", "lockgate-cnix", "LOCKGATE-CNI"] {
            assert_eq!(read_alias(&format!("{first} pods c1 eth0")), None, "{first}");
        }
    }
}
