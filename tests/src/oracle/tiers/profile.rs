//! Profiles of Calico: what decides of a pod where no tier has (CAL-29).
//!
//! A pod has two, its namespace's `kns.NAMESPACE` and its account's `ksa.NAMESPACE.ACCOUNT`, asked
//! in this order. Without the first everything is let through and the second is not asked: that is
//! what Calico gives a namespace by itself, and a dump of that, all allowed, is as if it were not
//! there. Each is read as a global policy of both directions, but for Pass, which is broken: there
//! is nothing after them. What neither decides is denied.

use serde_json::{Map, Value};

use super::super::judge::Asked;
use super::super::reading::{field, list, only};
use super::super::{Broken, Cluster, ends};
use super::calico::Policy;
use super::{Opinion, Tier, is_of_calico, spec, wearer};

const OF_OBJECT: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
const OF_SPEC: [&str; 3] = ["ingress", "egress", "labelsToApply"];

/// Whether it decides of somebody: the profile of a namespace that is not as Calico gives it. One
/// of an account decides nothing alone.
pub(super) fn decides(object: &Value) -> bool {
    let namespace = ends::key(object).1.strip_prefix("kns.");
    let is_of_one = namespace.is_some_and(|name| !name.is_empty() && !name.contains('.'));
    is_profile(object) && is_of_one && !is_default(object)
}

/// What the subject's profiles say, in the order in which they are asked; nothing where everything
/// is let through.
pub(super) fn opinions(asked: &Asked<'_>) -> Vec<Opinion> {
    let (namespace, _) = ends::key(asked.subject);
    let of_namespace = named(asked.cluster, &format!("kns.{namespace}"));
    let Some(of_namespace) = of_namespace.filter(|one| decides(one)) else { return Vec::new() };
    let account = wearer::account(asked.subject);
    let of_account = named(asked.cluster, &format!("ksa.{namespace}.{account}"));
    [of_namespace].into_iter().chain(of_account).map(|one| opinion(one, asked)).collect()
}

fn named<'a>(cluster: &'a Cluster, name: &str) -> Option<&'a Value> {
    cluster.objects.iter().find(|one| is_profile(one) && ends::key(one).1 == name)
}

fn opinion(profile: &Value, asked: &Asked<'_>) -> Opinion {
    let policy = Policy { spec: spec(profile), namespace: None, may_pass: false, asked };
    Opinion {
        tier: Tier::of_profiles(),
        order: 0.0,
        sort: 0,
        namespace: String::new(),
        name: ends::key(profile).1.to_owned(),
        said: policy.said(has_known_fields(profile).is_ok()),
    }
}

fn is_profile(object: &Value) -> bool {
    is_of_calico(object) && object["kind"] == "Profile"
}

fn has_known_fields(profile: &Value) -> Result<(), Broken> {
    only(profile, &OF_OBJECT)?;
    field(profile, "spec").map_or(Ok(()), |spec| only(spec, &OF_SPEC))
}

/// Whether it is as Calico gives it: one rule for each direction, and that allows everything.
fn is_default(profile: &Value) -> bool {
    let is_open = |name: &str| {
        let rules = field(spec(profile), name).map(|rules| list(rules, "rules must be a list"));
        matches!(rules, Some(Ok([rule])) if allows_all(rule))
    };
    has_known_fields(profile).is_ok() && is_open("ingress") && is_open("egress")
}

/// Whether it is written without any condition: empty ends are none.
fn allows_all(rule: &Value) -> bool {
    let is_nobody_named = |end: &str| {
        field(rule, end).is_none_or(|entity| entity.as_object().is_some_and(Map::is_empty))
    };
    only(rule, &["action", "metadata", "source", "destination"]).is_ok()
        && rule["action"] == "Allow"
        && is_nobody_named("source")
        && is_nobody_named("destination")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(name: &str, ingress: &Value) -> Value {
        json!({ "apiVersion": "projectcalico.org/v3", "kind": "Profile",
                "metadata": { "name": name },
                "spec": { "ingress": ingress, "egress": [{ "action": "Allow" }] } })
    }

    #[test]
    fn what_calico_gives_a_namespace_decides_nothing() {
        let open = [
            json!([{ "action": "Allow" }]),
            json!([{ "action": "Allow", "source": {}, "destination": {} }]),
            json!([{ "action": "Allow", "source": null, "metadata": { "annotations": {} } }]),
        ];
        for ingress in &open {
            assert!(!decides(&of("kns.x", ingress)), "{ingress}");
        }
        let other = [
            json!(null),
            json!([]),
            json!({}),
            json!([{ "action": "Deny" }]),
            json!([{ "action": "Allow", "protocol": "TCP" }]),
            json!([{ "action": "Allow", "source": { "selector": "all()" } }]),
            json!([{ "action": "Allow" }, { "action": "Deny" }]),
        ];
        for ingress in &other {
            assert!(decides(&of("kns.x", ingress)), "{ingress}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_as_calico_gives_it() {
        let mut profile = of("kns.x", &json!([{ "action": "Allow" }]));
        profile["spec"]["labelsToApply"] = json!({ "a": "b" });
        assert!(!decides(&profile));
        profile["spec"]["order"] = json!(1);
        assert!(decides(&profile));
        let mut profile = of("kns.x", &json!([{ "action": "Allow" }]));
        profile["more"] = json!({});
        assert!(decides(&profile));
    }

    #[test]
    fn only_a_namespaces_own_decides() {
        let deny = json!([{ "action": "Deny" }]);
        for name in ["kns.", "kns.x.y", "ksa.x.default", "projectcalico-default-allow", "x"] {
            assert!(!decides(&of(name, &deny)), "{name}");
        }
    }
}
