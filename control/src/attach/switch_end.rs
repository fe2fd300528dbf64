//! The switch's end of a pod's veth, as the CNI plugin makes it: down and inert.
//!
//! It is never set up here: the agent does that when its program is on it ([`Attacher::close`]).
//!
//! [`Attacher::close`]: super::Attacher::close

use super::netlink::VethPlan;
use super::{AttachError, Link, Netlink, inert};

impl Netlink {
    /// Makes a pod's veth, both ends down, and the switch's marked with an alias and inert.
    ///
    /// A crash on the way leaves an interface that is down and bears the name, so whoever knows
    /// the name can remove it.
    ///
    /// # Errors
    /// [`AttachError`] where a name is taken, or the kernel refuses.
    pub async fn make_pod_veth(
        &self,
        plan: &VethPlan<'_>,
        alias: &str,
    ) -> Result<Link, AttachError> {
        self.add_veth(plan).await?;
        let link = self.link(plan.name).await?;
        let link = link.ok_or_else(|| AttachError::Missing(plan.name.clone()))?;
        self.set_alias(&link, alias).await?;
        inert::make_inert(plan.name)?;
        Ok(link)
    }
}
