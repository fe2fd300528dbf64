//! The kernel's `nf_tables`, spoken to over netlink: a few messages by hand.
//!
//! The crates for it are under a licence that we do not take, or bind a C library; `nft` would be
//! another program in an image that holds none. A table of ours needs six kinds of messages.
//!
//! What changes is sent as one batch, which the kernel takes whole or not at all: no packet ever
//! meets half a table. It blocks for as long as a commit takes, some ten milliseconds: callers on
//! tokio give it a thread.

mod attribute;
mod expression;
mod family;
mod set;
mod socket;
mod table;

pub(super) use attribute::{Attribute, find, number_of, text_of};
pub(super) use expression::Expressions;
pub(super) use family::Family;
pub(super) use set::Set;
pub(super) use socket::{Part, Socket};
pub(super) use table::{Chain, Hook, Table, described, remove};

/// The kinds of messages that are used here (`NFT_MSG_*`).
pub(super) mod kind {
    pub(in crate::host) const NEW_TABLE: u8 = 0;
    pub(in crate::host) const GET_TABLE: u8 = 1;
    pub(in crate::host) const DELETE_TABLE: u8 = 2;
    pub(in crate::host) const NEW_CHAIN: u8 = 3;
    pub(in crate::host) const GET_CHAIN: u8 = 4;
    pub(in crate::host) const NEW_RULE: u8 = 6;
    pub(in crate::host) const GET_RULE: u8 = 7;
    pub(in crate::host) const NEW_SET: u8 = 9;
    pub(in crate::host) const GET_SET: u8 = 10;
    pub(in crate::host) const NEW_ELEMENTS: u8 = 12;
    pub(in crate::host) const GET_ELEMENTS: u8 = 13;
}
