//! The networks of a cluster: one namespace for each node, one wire between them.
//!
//! ```text
//!   lgc-a           lgc-net            lgc-b
//!  +---------+     +-------------+    +---------+
//!  | eth0 ---+-----+-node-a      |    |         |
//!  | .11     |     |    wire .1  |    |     .12 |
//!  +---------+     |      node-b-+----+--- eth0 |
//!                  +-------------+    +---------+
//! ```
//!
//! The wire is a bridge. Its own address is nobody's node: what nodes route by default goes there,
//! and no further, for nothing of this is joined to the machine's own network.

use crate::lab::namespace::Namespace;
use crate::lab::{LabError, namespace};

use super::layout::{Layout, NodePlace, OUTSIDE};

/// Makes what is missing for `nodes` nodes.
///
/// # Errors
/// When a namespace or a wire can't be made.
pub fn make(layout: &Layout, nodes: u8) -> Result<(), LabError> {
    let wire = layout.wire();
    let there = namespace::list(layout.prefix());
    if !there.contains(&wire.name().to_owned()) {
        let wire = Namespace::create(wire.name())?;
        let (v4, v6) = OUTSIDE;
        wire.ip(&[
            "link add wire type bridge forward_delay 0".to_owned(),
            format!("address add {v4}/24 dev wire"),
            format!("address add {v6}/64 dev wire nodad"),
            "link set wire up".to_owned(),
        ])?;
    }
    for number in 0..nodes {
        let node = layout.node(number);
        if !there.contains(&node.namespace.name().to_owned()) {
            connect(&node, &wire)?;
        }
    }
    Ok(())
}

fn connect(node: &NodePlace, wire: &Namespace) -> Result<(), LabError> {
    let namespace = Namespace::create(node.namespace.name())?;
    let (name, (v4, v6)) = (&node.name, node.addresses());
    namespace.ip(&[
        format!("link add eth0 type veth peer name {name} netns {}", wire.name()),
        format!("address add {v4}/24 dev eth0"),
        format!("address add {v6}/64 dev eth0 nodad"),
        "link set eth0 up".to_owned(),
    ])?;
    wire.ip(&[format!("link set {name} master wire up")])?;
    let (out4, out6) = OUTSIDE;
    namespace.ip(&[
        format!("route add 0.0.0.0/0 via {out4} dev eth0"),
        format!("route add ::/0 via {out6} dev eth0"),
    ])
}
