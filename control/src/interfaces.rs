//! Interfaces as the agent sees them: a narrow trait, so that `ports` is tested without netlink.

use std::collections::BTreeMap;
use std::future::Future;

use lockgate_dataplane::ids::Mac;

use crate::attach::{AttachError, Attacher, HostPortPlan, InterfaceName, Link, Probed};

/// What the agent asks of interfaces.
pub trait Interfaces {
    /// All interfaces, by name.
    fn links(&self) -> impl Future<Output = Result<BTreeMap<String, Link>, AttachError>>;

    /// Whether an interface is closed and up: a predecessor serves it.
    fn is_served(&self, interface: &InterfaceName, link: &Link) -> bool;

    /// Closes a pod's interface, see [`Attacher::close`].
    fn close(
        &self,
        interface: &InterfaceName,
        link: &Link,
    ) -> impl Future<Output = Result<(), AttachError>>;

    /// Checks whether an interface may have a port.
    fn check(
        &self,
        interface: &InterfaceName,
        link: &Link,
        queues: u32,
        mac: Option<Mac>,
    ) -> impl Future<Output = Result<Probed, AttachError>>;

    /// Sets an interface up or down.
    fn set_up(&self, link: &Link, up: bool) -> impl Future<Output = Result<(), AttachError>>;

    /// Finds or makes the interface of the host port.
    fn host_port(
        &mut self,
        plan: &HostPortPlan,
        workers: u8,
    ) -> impl Future<Output = Result<Probed, AttachError>>;

    /// Removes the pins of interfaces that have gone.
    ///
    /// # Errors
    /// Where one cannot be removed.
    fn sweep(&self) -> Result<(), AttachError>;
}

impl Interfaces for Attacher {
    async fn links(&self) -> Result<BTreeMap<String, Link>, AttachError> {
        Ok(self.links().await?.into_iter().map(|link| (link.name.clone(), link)).collect())
    }

    fn is_served(&self, interface: &InterfaceName, link: &Link) -> bool {
        link.is_up && link.is_veth && matches!(self.is_held(interface, link), Ok(true))
    }

    async fn close(&self, interface: &InterfaceName, link: &Link) -> Result<(), AttachError> {
        self.close(interface, link).await
    }

    async fn check(
        &self,
        interface: &InterfaceName,
        link: &Link,
        queues: u32,
        mac: Option<Mac>,
    ) -> Result<Probed, AttachError> {
        self.check(interface, link, queues, mac).await
    }

    async fn set_up(&self, link: &Link, up: bool) -> Result<(), AttachError> {
        self.set_up(link, up).await
    }

    async fn host_port(&mut self, plan: &HostPortPlan, workers: u8) -> Result<Probed, AttachError> {
        self.host_port(plan, workers).await
    }

    fn sweep(&self) -> Result<(), AttachError> {
        self.sweep()
    }
}
