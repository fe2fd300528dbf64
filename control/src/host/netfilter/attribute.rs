//! Netlink attributes: written for the kernel, and compared with what the kernel says it has.
//!
//! The kernel tells more of an object than it was asked to make: handles, counters, defaults. So a
//! thing is as wanted when everything that was wanted is found in it ([`Attribute::is_in`]).

/// An attribute's header, in bytes: its length and its kind.
const HEADER_BYTES: usize = 4;

/// The two high bits of a kind say how its value is written, and nothing of what it means.
const KIND_MASK: u16 = 0x3fff;

/// The kind of every element of a list.
const LIST_ELEMENT: u16 = 1;

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Attribute {
    kind: u16,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Bytes(Vec<u8>),
    Nest(Vec<Attribute>),
    List(Vec<Vec<Attribute>>),
}

impl Attribute {
    /// Plain bytes.
    pub(in crate::host) fn bytes(kind: u16, bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind, value: Value::Bytes(bytes.into()) }
    }

    /// A number, which `nf_tables` has in network order.
    pub(in crate::host) fn number(kind: u16, number: u32) -> Self {
        Self::bytes(kind, number.to_be_bytes())
    }

    /// A text, which ends in a zero.
    pub(in crate::host) fn text(kind: u16, text: &str) -> Self {
        Self::bytes(kind, [text.as_bytes(), &[0]].concat())
    }

    /// Attributes in an attribute, of kinds that differ.
    pub(in crate::host) fn nest(kind: u16, inner: impl Into<Vec<Self>>) -> Self {
        Self { kind, value: Value::Nest(inner.into()) }
    }

    /// Elements in their order, each a nest.
    pub(in crate::host) fn list(kind: u16, elements: Vec<Vec<Self>>) -> Self {
        Self { kind, value: Value::List(elements) }
    }

    /// Writes it as the kernel reads it, padded to four bytes.
    pub(in crate::host) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; HEADER_BYTES]);
        match &self.value {
            Value::Bytes(bytes) => out.extend(bytes),
            Value::Nest(inner) => inner.iter().for_each(|attribute| attribute.write(out)),
            Value::List(elements) => {
                for element in elements {
                    Self::nest(LIST_ELEMENT, element.clone()).write(out);
                }
            }
        }
        // Whoever writes lists keeps them below what the sixteen bits hold.
        let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
        out[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        out[start + 2..start + HEADER_BYTES].copy_from_slice(&self.kind.to_ne_bytes());
        out.resize(out.len().next_multiple_of(4), 0);
    }

    /// Whether the kernel's attributes have this one, with all that is in it.
    pub(in crate::host) fn is_in(&self, found: &[u8]) -> bool {
        let Some(value) = find(found, self.kind) else { return false };
        match &self.value {
            Value::Bytes(bytes) => bytes == value,
            Value::Nest(inner) => inner.iter().all(|attribute| attribute.is_in(value)),
            Value::List(elements) => {
                let found: Vec<&[u8]> = read(value).map(|(_, element)| element).collect();
                let pairs = || elements.iter().zip(&found);
                let holds = |(wanted, found): (&Vec<Self>, &&[u8])| {
                    wanted.iter().all(|attribute| attribute.is_in(found))
                };
                elements.len() == found.len() && pairs().all(holds)
            }
        }
    }
}

/// The attributes in some bytes; what is cut short ends them.
pub(in crate::host) fn read(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, _) = bytes.split_at_checked(HEADER_BYTES)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & KIND_MASK;
        let value = bytes.get(HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub(in crate::host) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    read(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// A text attribute's value without its final zero.
pub(in crate::host) fn text_of(bytes: &[u8], kind: u16) -> Option<String> {
    let value = find(bytes, kind)?;
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    Some(String::from_utf8_lossy(&value[..end]).into_owned())
}

/// A number attribute's value.
pub(in crate::host) fn number_of(bytes: &[u8], kind: u16) -> Option<u32> {
    find(bytes, kind)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(attributes: &[Attribute]) -> Vec<u8> {
        let mut out = Vec::new();
        for attribute in attributes {
            attribute.write(&mut out);
        }
        out
    }

    fn sample() -> Vec<Attribute> {
        vec![
            Attribute::text(1, "abc"),
            Attribute::nest(2, [Attribute::number(7, 9), Attribute::bytes(8, [1])]),
            Attribute::list(3, vec![vec![Attribute::number(1, 1)], vec![Attribute::number(1, 2)]]),
        ]
    }

    #[test]
    fn what_is_written_is_padded_and_read_again() {
        let bytes = written(&sample());
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(bytes[..8], [8, 0, 1, 0, b'a', b'b', b'c', 0]);
        assert_eq!(text_of(&bytes, 1).as_deref(), Some("abc"));
        assert_eq!(number_of(find(&bytes, 2).unwrap(), 7), Some(9));
        assert_eq!(read(find(&bytes, 3).unwrap()).count(), 2);
    }

    #[test]
    fn a_thing_with_more_than_was_wanted_is_as_wanted() {
        let mut bytes = written(&[Attribute::number(99, 5)]);
        let more = Attribute::nest(
            2,
            [Attribute::number(70, 1), Attribute::number(7, 9), Attribute::bytes(8, [1])],
        );
        bytes.extend(written(&[Attribute::text(1, "abc"), more, sample()[2].clone()]));
        assert!(sample().iter().all(|attribute| attribute.is_in(&bytes)));
    }

    #[test]
    fn a_thing_with_less_or_other_than_was_wanted_is_not() {
        let faults = [
            Attribute::text(1, "abd"),
            Attribute::nest(2, [Attribute::number(7, 8)]),
            Attribute::nest(2, [Attribute::number(6, 9)]),
            Attribute::list(3, vec![vec![Attribute::number(1, 1)]]),
            Attribute::list(3, vec![vec![Attribute::number(1, 2)], vec![Attribute::number(1, 1)]]),
            Attribute::number(4, 0),
        ];
        let bytes = written(&sample());
        for fault in faults {
            assert!(!fault.is_in(&bytes), "{fault:?}");
        }
    }

    #[test]
    fn attributes_that_are_cut_short_end_the_reading() {
        let bytes = written(&sample());
        for end in 0..bytes.len() {
            let _ = read(&bytes[..end]).count();
        }
        assert_eq!(read(&[0, 0, 1, 0, 9, 9, 9, 9]).count(), 0, "a length below its own header");
    }
}
