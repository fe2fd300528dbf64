//! A whole table of `nf_tables`: as it shall be, replaced at once, and compared with what is there.

use std::collections::BTreeSet;
use std::io;

use super::attribute::{Attribute, text_of};
use super::kind;
use super::net_set::NetSet;
use super::socket::{APPEND, CREATE, INET, Message, Socket, Told};

/// Of every object but the table itself: the name of its table. Of the table: its own name.
const TABLE: u16 = 1;
/// The name of a set, or of the chain of a rule.
const NAME: u16 = 2;
const CHAIN_NAME: u16 = 3;
const SET_FLAGS: u16 = 3;
const INTERVALS: u32 = 4;

/// A chain that sees packets on their way out and may change whom they are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Chain {
    /// Its name in its table.
    pub name: &'static str,
    /// When it is asked, among the chains of others.
    pub priority: i32,
    /// The expressions of each rule.
    pub rules: Vec<Vec<Attribute>>,
}

/// A table of the family `inet`, with one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its sets of networks, none of them empty.
    pub sets: Vec<NetSet>,
    /// Its chain.
    pub chain: Chain,
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
        Ok(are(&chains, &[self.chain_attributes()]) && are(&rules, &self.rules()))
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
        messages.push(message(kind::NEW_CHAIN, CREATE, self.chain_attributes()));
        let rules = self.rules();
        messages
            .extend(rules.into_iter().map(|rule| message(kind::NEW_RULE, CREATE | APPEND, rule)));
        messages
    }

    fn set_attributes(&self, set: &NetSet, number: u32) -> Vec<Attribute> {
        vec![
            Attribute::text(TABLE, self.name),
            Attribute::text(NAME, &set.name),
            Attribute::number(SET_FLAGS, INTERVALS),
            Attribute::number(4, set.family.set_type()),
            Attribute::number(5, set.family.address_bytes()),
            Attribute::number(10, number),
        ]
    }

    fn chain_attributes(&self) -> Vec<Attribute> {
        const POSTROUTING: u32 = 4;
        const ACCEPT: u32 = 1;
        let priority = Attribute::bytes(2, self.chain.priority.to_be_bytes());
        vec![
            Attribute::text(TABLE, self.name),
            Attribute::text(CHAIN_NAME, self.chain.name),
            Attribute::nest(4, [Attribute::number(1, POSTROUTING), priority]),
            Attribute::number(5, ACCEPT),
            Attribute::text(7, "nat"),
        ]
    }

    /// The attributes of each rule.
    fn rules(&self) -> Vec<Vec<Attribute>> {
        let names = [Attribute::text(TABLE, self.name), Attribute::text(NAME, self.chain.name)];
        self.chain.rules.iter().map(|rule| [&names[..], rule].concat()).collect()
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

/// Every set, chain and rule of a table, as the kernel tells it.
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
            let bytes = one.attributes.iter().map(|byte| format!("{byte:02x}"));
            text += &format!("{what} {}\n", bytes.collect::<String>());
        }
    }
    Ok(text)
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
