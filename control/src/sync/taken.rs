//! A hand-over, as the agent's state goes through it: prepared beside a predecessor, taken at once;
//! and given away, or had back.

use std::time::{Duration, Instant};

use super::Sync;
use crate::attach::{Link, Probed};
use crate::dataplane::Dataplane;
use crate::interfaces::Interfaces;

/// How often workers are asked whether they use the snapshot of what was taken.
const LOOK: Duration = Duration::from_micros(200);
/// How often the host port is tried, each time for a second.
const HOST_TRIES: u32 = 5;

impl<D: Dataplane> Sync<D> {
    /// Whether everything has been read once.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.source.is_whole()
    }

    /// Does what can be done before a predecessor gives its ports: compiles what is known, and
    /// looks at the interfaces that it serves.
    pub async fn prepare(&mut self, host: Option<&Probed>, interfaces: &impl Interfaces) {
        self.resolve();
        if let Some(host) = host {
            // What cannot be prepared now is done, or refused, when it is taken.
            let _later = self.dataplane.prepare_port(host, u32::from(self.node.workers));
        }
        let (pods, dataplane) = (self.resolver.local(), &mut self.dataplane);
        self.ports.prepare(pods, &self.node, interfaces, dataplane).await;
    }

    /// Compiles what was learned since [`Sync::prepare`].
    pub fn prepare_rules(&mut self) {
        self.resolve();
    }

    /// Takes the ports that were prepared, and publishes with all that was learned; how many pods'
    /// ports that are. What is missing is added by the next [`Sync::advance`].
    ///
    /// # Errors
    /// Where the host port gets no sockets.
    pub fn take(&mut self, host: Option<Probed>, links: &[Link]) -> Result<usize, D::Error> {
        if let Some(probed) = host {
            self.take_host(&probed)?;
        }
        self.resolve();
        let links = links.iter().map(|link| (link.name.clone(), link.clone())).collect();
        let (pods, dataplane) = (self.resolver.local(), &mut self.dataplane);
        let taken = self.ports.add_prepared(pods, &links, dataplane);
        self.publish_tables(None);
        self.tick();
        Ok(taken)
    }

    /// Binds the host port, the first of all: the predecessor's queues are free a while after they
    /// were closed, which is long where cores are busy.
    fn take_host(&mut self, host: &Probed) -> Result<(), D::Error> {
        for _ in 1..HOST_TRIES {
            if self.add_host(host.clone()).is_ok() {
                return Ok(());
            }
        }
        self.add_host(host.clone())
    }

    /// Waits until every worker uses what was published last; false where one does not in time.
    pub async fn await_in_force(&mut self, patience: Duration) -> bool {
        let begun = Instant::now();
        while self.dataplane.in_force() < self.published {
            if begun.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    /// Gives all ports away.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn give(&mut self) -> Result<(), D::Error> {
        self.dataplane.give()
    }

    /// Has the ports back, with the locks: workers go on, and each port is added anew.
    ///
    /// # Errors
    /// Where a worker cannot be started.
    pub fn have_back(&mut self) -> Result<(), D::Error> {
        self.survivors.go_on();
        self.dataplane.resume()?;
        self.ports.forget();
        self.links_changed();
        Ok(())
    }
}
