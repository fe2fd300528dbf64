//! What pods, sets of networks and nodes wear, as selectors see it.

use crate::expression::{
    ACCOUNT, Expression, NAME, NAMESPACE, OF_ACCOUNT, OF_NAMESPACE, ORCHESTRATOR, Seen,
};
use crate::inventory::Inventory;
use crate::manifest::{DEFAULT_ACCOUNT, Node, Pod};
use crate::policy::calico::NetworkSet;
use crate::policy::{Accounts, Selection, Within};
use crate::selector::Labels;

/// Something with labels, some of which nobody may be able to read: then nobody can tell whether a
/// selector that asks for them matches.
pub(crate) trait Wears {
    /// The namespace that it is in; `None` is in none.
    fn namespace(&self) -> Option<&str>;
    /// The service account of a pod.
    fn account(&self) -> Option<&str>;
    /// A label that is written on it.
    fn own(&self, key: &str) -> Seen<'_>;
    /// A label of its namespace.
    fn of_namespace(&self, key: &str) -> Seen<'_>;
    /// A label of its account.
    fn of_account(&self, key: &str) -> Seen<'_>;

    /// What is known of a label. What the switch gives wins over what an object wears.
    fn label(&self, key: &str) -> Seen<'_> {
        match key {
            NAMESPACE => self.namespace().into(),
            ACCOUNT => self.account().into(),
            ORCHESTRATOR => self.account().map(|_| "k8s").into(),
            _ => {
                // Namespaces and accounts also wear their names.
                if let Some(key) = key.strip_prefix(OF_NAMESPACE) {
                    if key == NAME { self.namespace().into() } else { self.of_namespace(key) }
                } else if let Some(key) = key.strip_prefix(OF_ACCOUNT) {
                    if key == NAME { self.account().into() } else { self.of_account(key) }
                } else {
                    self.own(key)
                }
            }
        }
    }

    /// Whether an expression matches it; `None` where nobody can tell.
    fn judge(&self, expression: &Expression) -> Option<bool> {
        expression.judge(&|key| self.label(key))
    }

    /// Whether it is selected; `None` where nobody can tell.
    fn is_selected(&self, selection: &Selection) -> Option<bool> {
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

    fn is_within(&self, within: &Within) -> Option<bool> {
        match within {
            Within::Anywhere => Some(true),
            Within::Namespace(name) => Some(self.namespace() == Some(&**name)),
            Within::Namespaces(expression) => self.judge(expression),
            Within::Global => Some(self.namespace().is_none()),
        }
    }

    fn acts_as(&self, accounts: &Accounts) -> Option<bool> {
        let is_named = |account| accounts.names.iter().any(|name| name == account);
        if !accounts.names.is_empty() && !self.account().is_some_and(is_named) {
            return Some(false);
        }
        accounts.labels.as_ref().map_or(Some(true), |labels| self.judge(labels))
    }

    /// Why an expression does not match it; nothing where it does.
    fn misses(&self, expression: &Expression) -> Vec<String> {
        expression.misses(&|key| match self.label(key) {
            Seen::Value(value) => Some(value),
            Seen::Absent | Seen::Unknown => None,
        })
    }
}

/// Something with labels, as it is written. Labels that cannot be read are `None`.
#[derive(Debug)]
pub(crate) struct Wearer<'i> {
    own: Option<&'i Labels>,
    namespace: Option<&'i str>,
    of_namespace: Option<Labels>,
    account: Option<&'i str>,
    of_account: Option<Labels>,
}

impl<'i> Wearer<'i> {
    /// A pod, which is none that is denied.
    pub(crate) fn pod(inventory: &Inventory, pod: &'i Pod) -> Self {
        let key = &pod.metadata.key;
        Self {
            own: pod.labels.as_deref(),
            namespace: Some(&key.namespace),
            of_namespace: inventory.namespace_labels(&key.namespace),
            account: Some(&pod.account),
            of_account: inventory.account_labels(&key.namespace, &pod.account),
        }
    }

    /// A pod without labels, as whoever is there when nobody asks: `none` are no labels.
    pub(super) fn bare(inventory: &Inventory, namespace: &'i str, none: &'i Labels) -> Self {
        let account = inventory.account(namespace, DEFAULT_ACCOUNT);
        Self {
            own: Some(none),
            namespace: Some(namespace),
            of_namespace: inventory.namespace_labels(namespace),
            account: Some(DEFAULT_ACCOUNT),
            of_account: account.map_or(Some(Labels::new()), |one| one.labels.clone()),
        }
    }

    /// A set of networks.
    pub(crate) fn set(inventory: &Inventory, set: &'i NetworkSet) -> Self {
        let key = &set.metadata.key;
        let namespace = Some(&*key.namespace).filter(|name| !name.is_empty());
        Self {
            own: set.labels.as_ref(),
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
            namespace: None,
            of_namespace: Some(Labels::new()),
            account: None,
            of_account: Some(Labels::new()),
        }
    }
}

impl Wears for Wearer<'_> {
    fn namespace(&self) -> Option<&str> {
        self.namespace
    }

    fn account(&self) -> Option<&str> {
        self.account
    }

    fn own(&self, key: &str) -> Seen<'_> {
        worn(self.own, key)
    }

    fn of_namespace(&self, key: &str) -> Seen<'_> {
        worn(self.of_namespace.as_ref(), key)
    }

    fn of_account(&self, key: &str) -> Seen<'_> {
        worn(self.of_account.as_ref(), key)
    }
}

fn worn<'l>(labels: Option<&'l Labels>, key: &str) -> Seen<'l> {
    labels.map_or(Seen::Unknown, |labels| labels.get(key).into())
}
