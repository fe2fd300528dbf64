//! What pods, sets of networks and nodes wear, as selectors see it.

use crate::expression::{
    ACCOUNT, Expression, NAME, NAMESPACE, OF_ACCOUNT, OF_NAMESPACE, ORCHESTRATOR, Seen,
};
use crate::inventory::{Inventory, Resident};
use crate::manifest::{DEFAULT_ACCOUNT, Node};
use crate::policy::calico::NetworkSet;
use crate::policy::{Accounts, Selection, Within};
use crate::selector::Labels;

/// Something with labels. Labels that cannot be read are `None`: nobody can tell whether a selector
/// that asks for them matches.
#[derive(Debug)]
pub(crate) struct Wearer<'i> {
    own: Option<&'i Labels>,
    name: &'i str,
    /// `None` is in none.
    namespace: Option<&'i str>,
    of_namespace: Option<Labels>,
    /// Of a pod.
    account: Option<&'i str>,
    of_account: Option<Labels>,
}

impl<'i> Wearer<'i> {
    /// A pod, which is none that is denied.
    pub(crate) fn pod(inventory: &Inventory, resident: &Resident<'i>) -> Self {
        let pod = resident.pod;
        let key = &pod.metadata.key;
        Self {
            own: pod.labels.as_ref(),
            name: &key.name,
            namespace: Some(&key.namespace),
            of_namespace: inventory.namespace_labels(&key.namespace),
            account: Some(&pod.account),
            of_account: inventory.account_labels(pod),
        }
    }

    /// A pod without labels and a name, as whoever is there when nobody asks: `none` are no labels.
    pub(super) fn bare(inventory: &Inventory, namespace: &'i str, none: &'i Labels) -> Self {
        let account = inventory.account(namespace, DEFAULT_ACCOUNT);
        Self {
            own: Some(none),
            name: "",
            namespace: Some(namespace),
            of_namespace: inventory.namespace_labels(namespace),
            account: Some(DEFAULT_ACCOUNT),
            of_account: account.map_or(Some(Labels::new()), |one| one.labels.clone()),
        }
    }

    /// A set of networks.
    pub(super) fn set(inventory: &Inventory, set: &'i NetworkSet) -> Self {
        let key = &set.metadata.key;
        let namespace = Some(&*key.namespace).filter(|name| !name.is_empty());
        Self {
            own: set.labels.as_ref(),
            name: &key.name,
            namespace,
            of_namespace: namespace
                .map_or(Some(Labels::new()), |name| inventory.namespace_labels(name)),
            account: None,
            of_account: Some(Labels::new()),
        }
    }

    /// A node.
    pub(super) fn node(node: &'i Node) -> Self {
        Self {
            own: node.labels.as_ref(),
            name: &node.metadata.key.name,
            namespace: None,
            of_namespace: Some(Labels::new()),
            account: None,
            of_account: Some(Labels::new()),
        }
    }

    /// Whether an expression matches it; `None` where nobody can tell.
    pub(crate) fn judge(&self, expression: &Expression) -> Option<bool> {
        expression.judge(&|key| self.label(key))
    }

    /// Whether it is selected; `None` where nobody can tell.
    pub(super) fn is_selected(&self, selection: &Selection) -> Option<bool> {
        let parts = [
            self.is_within(&selection.within),
            self.judge(&selection.labels),
            selection.accounts.as_ref().map_or(Some(true), |accounts| self.acts_as(accounts)),
        ];
        if parts.contains(&Some(false)) {
            return Some(false);
        }
        (!parts.contains(&None)).then_some(true)
    }

    /// Why an expression does not match it; nothing where it does.
    pub(crate) fn misses(&self, expression: &Expression) -> Vec<String> {
        expression.misses(&|key| match self.label(key) {
            Seen::Value(value) => Some(value),
            Seen::Absent | Seen::Unknown => None,
        })
    }

    /// The namespace that it is in.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace
    }

    pub(crate) fn is_within(&self, within: &Within) -> Option<bool> {
        match within {
            Within::Anywhere => Some(true),
            Within::Namespace(name) => Some(self.namespace == Some(&**name)),
            Within::Namespaces(expression) => self.judge(expression),
            Within::Global => Some(self.namespace.is_none()),
        }
    }

    pub(crate) fn acts_as(&self, accounts: &Accounts) -> Option<bool> {
        let is_named = |account| accounts.names.iter().any(|name| name == account);
        if !accounts.names.is_empty() && !self.account.is_some_and(is_named) {
            return Some(false);
        }
        accounts.labels.as_ref().map_or(Some(true), |labels| self.judge(labels))
    }

    /// What is known of a label. What the switch gives wins over what an object wears.
    fn label(&self, key: &str) -> Seen<'_> {
        match key {
            NAMESPACE => self.namespace.into(),
            NAME => Seen::Value(self.name),
            ACCOUNT => self.account.into(),
            ORCHESTRATOR => self.account.map(|_| "k8s").into(),
            _ => {
                if let Some(key) = key.strip_prefix(OF_NAMESPACE) {
                    named(self.namespace, self.of_namespace.as_ref(), key)
                } else if let Some(key) = key.strip_prefix(OF_ACCOUNT) {
                    named(self.account, self.of_account.as_ref(), key)
                } else {
                    worn(self.own, key)
                }
            }
        }
    }
}

/// A label of a namespace or an account, which also wear their names.
fn named<'l>(name: Option<&'l str>, labels: Option<&'l Labels>, key: &str) -> Seen<'l> {
    if key == NAME { name.into() } else { worn(labels, key) }
}

fn worn<'l>(labels: Option<&'l Labels>, key: &str) -> Seen<'l> {
    labels.map_or(Seen::Unknown, |labels| labels.get(key).into())
}
