//! A whole table of `nf_tables`: as it shall be, replaced at once, and compared with what is there.

use std::collections::BTreeSet;
use std::io;

use super::attribute::{Attribute, text_of};
use super::kind;
use super::set::Set;
use super::socket::{APPEND, CREATE, INET, Message, Socket, Told};

/// Of every object but the table itself: the name of its table. Of the table: its own name.
const TABLE: u16 = 1;
/// The name of a set, or of the chain of a rule.
const NAME: u16 = 2;
const CHAIN_NAME: u16 = 3;
const SET_FLAGS: u16 = 3;

/// Where a chain sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Hook {
    /// As they come in, before they are routed: it may change whom they are for.
    Prerouting = 0,
    /// What came in for the machine itself: it may change whom it is from.
    Input = 1,
    /// What came in and is on its way out again: it may stop it.
    Forward = 2,
    /// What the machine itself sends, before it is routed again: the same.
    Output = 3,
    /// On their way out: it may change whom they are from.
    Postrouting = 4,
}

impl Hook {
    /// What a chain there does: only one that stops packets is no translator of addresses.
    const fn kind(self) -> &'static str {
        match self {
            Self::Forward => "filter",
            Self::Prerouting | Self::Input | Self::Output | Self::Postrouting => "nat",
        }
    }
}

/// A chain that translates addresses, or stops packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Chain {
    /// Its name in its table.
    pub name: &'static str,
    /// Where it is asked.
    pub hook: Hook,
    /// When it is asked, among the chains of others.
    pub priority: i32,
    /// The expressions of each rule.
    pub rules: Vec<Vec<Attribute>>,
}

/// A table of the family `inet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its sets, none of them empty.
    pub sets: Vec<Set>,
    /// Its chains.
    pub chains: Vec<Chain>,
}

impl Table {
    /// Whether the kernel has exactly this.
    pub(in crate::host) fn is_there(&self, socket: &Socket) -> io::Result<bool> {
        if !is_there(socket, self.name)? {
            return Ok(false);
        }
        let named: BTreeSet<String> = self.sets.iter().map(|set| set.name.clone()).collect();
        let sets = self.objects(socket, kind::GET_SET, vec![])?;
        let found: BTreeSet<String> =
            sets.iter().filter_map(|told| text_of(&told.attributes, NAME)).collect();
        if found != named {
            return Ok(false);
        }
        for set in &self.sets {
            let asked = vec![Attribute::text(NAME, &set.name)];
            let told = self.objects(socket, kind::GET_ELEMENTS, asked)?;
            if !set.is_told(told.iter().map(|told| told.attributes.as_slice())) {
                return Ok(false);
            }
        }
        let chains = self.objects(socket, kind::GET_CHAIN, vec![])?;
        let rules = self.objects(socket, kind::GET_RULE, vec![])?;
        Ok(are(&chains, &self.chain_attributes()) && are(&rules, &self.rules()))
    }

    /// Puts it in the place of whatever there is of its name, at once.
    pub(in crate::host) fn put(&self, socket: &Socket) -> io::Result<()> {
        socket.commit(INET, &self.messages())
    }

    fn messages(&self) -> Vec<Message> {
        let message = |kind, flags, attributes| Message { kind, flags, attributes };
        let own = || vec![Attribute::text(TABLE, self.name)];
        // What is not there cannot be deleted, so it is made first.
        let mut messages = vec![
            message(kind::NEW_TABLE, CREATE, own()),
            message(kind::DELETE_TABLE, 0, own()),
            message(kind::NEW_TABLE, CREATE, own()),
        ];
        for (set, number) in self.sets.iter().zip(1..) {
            messages.push(message(kind::NEW_SET, CREATE, self.set_attributes(set, number)));
            for list in set.lists() {
                let attributes = [own(), vec![Attribute::text(NAME, &set.name), list]].concat();
                messages.push(message(kind::NEW_ELEMENTS, CREATE, attributes));
            }
        }
        let chains = self.chain_attributes().into_iter();
        messages.extend(chains.map(|chain| message(kind::NEW_CHAIN, CREATE, chain)));
        let rules = self.rules();
        messages
            .extend(rules.into_iter().map(|rule| message(kind::NEW_RULE, CREATE | APPEND, rule)));
        messages
    }

    fn set_attributes(&self, set: &Set, number: u32) -> Vec<Attribute> {
        vec![
            Attribute::text(TABLE, self.name),
            Attribute::text(NAME, &set.name),
            Attribute::number(SET_FLAGS, set.flags),
            Attribute::number(4, set.key_type),
            Attribute::number(5, set.key_bytes),
            Attribute::number(10, number),
        ]
    }

    /// The attributes of each chain.
    fn chain_attributes(&self) -> Vec<Vec<Attribute>> {
        const ACCEPT: u32 = 1;
        let attributes = |chain: &Chain| {
            let priority = Attribute::bytes(2, chain.priority.to_be_bytes());
            vec![
                Attribute::text(TABLE, self.name),
                Attribute::text(CHAIN_NAME, chain.name),
                Attribute::nest(4, [Attribute::number(1, chain.hook as u32), priority]),
                Attribute::number(5, ACCEPT),
                Attribute::text(7, chain.hook.kind()),
            ]
        };
        self.chains.iter().map(attributes).collect()
    }

    /// The attributes of each rule.
    fn rules(&self) -> Vec<Vec<Attribute>> {
        let of = |chain: &Chain| -> Vec<Vec<Attribute>> {
            let names = [Attribute::text(TABLE, self.name), Attribute::text(NAME, chain.name)];
            chain.rules.iter().map(|rule| [&names[..], rule].concat()).collect()
        };
        self.chains.iter().flat_map(of).collect()
    }

    /// What the kernel has of a kind in the table.
    fn objects(&self, socket: &Socket, kind: u8, more: Vec<Attribute>) -> io::Result<Vec<Told>> {
        let asked = [vec![Attribute::text(TABLE, self.name)], more].concat();
        let mut told = socket.list(kind, INET, &asked)?;
        // Of chains the kernel tells all tables'.
        told.retain(|told| text_of(&told.attributes, TABLE).as_deref() == Some(self.name));
        Ok(told)
    }
}

/// Whether there is a table of this name.
pub(in crate::host) fn is_there(socket: &Socket, name: &str) -> io::Result<bool> {
    let tables = socket.list(kind::GET_TABLE, INET, &[])?;
    Ok(tables.iter().any(|told| text_of(&told.attributes, TABLE).as_deref() == Some(name)))
}

/// Every set with its elements, every chain, and every rule with its counter, of a table, as the
/// kernel tells it.
pub(in crate::host) fn described(socket: &Socket, name: &str) -> io::Result<String> {
    if !is_there(socket, name)? {
        return Err(io::Error::other(format!("there is no table inet {name}")));
    }
    let mut text = String::new();
    for (what, kind) in
        [("set", kind::GET_SET), ("chain", kind::GET_CHAIN), ("rule", kind::GET_RULE)]
    {
        let mut told = socket.list(kind, INET, &[Attribute::text(TABLE, name)])?;
        told.retain(|told| text_of(&told.attributes, TABLE).as_deref() == Some(name));
        for one in told {
            text += &line(what, &one);
            let set = text_of(&one.attributes, NAME).filter(|_| kind == kind::GET_SET);
            let asked = set.map(|set| [Attribute::text(TABLE, name), Attribute::text(NAME, &set)]);
            let asked = asked.as_ref().map(|asked| socket.list(kind::GET_ELEMENTS, INET, asked));
            let elements = asked.transpose()?.unwrap_or_default();
            text.extend(elements.iter().map(|some| line("elements", some)));
        }
    }
    Ok(text)
}

fn line(what: &str, told: &Told) -> String {
    let bytes = told.attributes.iter().map(|byte| format!("{byte:02x}"));
    format!("{what} {}\n", bytes.collect::<String>())
}

/// Removes a table; false where there was none.
pub(in crate::host) fn remove(socket: &Socket, name: &str) -> io::Result<bool> {
    if !is_there(socket, name)? {
        return Ok(false);
    }
    let attributes = vec![Attribute::text(TABLE, name)];
    socket.commit(INET, &[Message { kind: kind::DELETE_TABLE, flags: 0, attributes }])?;
    Ok(true)
}

/// Whether the objects told are the wanted ones, in their order.
fn are(told: &[Told], wanted: &[Vec<Attribute>]) -> bool {
    let is = |(told, wanted): (&Told, &Vec<Attribute>)| {
        wanted.iter().all(|attribute| attribute.is_in(&told.attributes))
    };
    told.len() == wanted.len() && told.iter().zip(wanted).all(is)
}
