use super::*;
use crate::policy::IpProtocol;
use crate::sample::{inventory, pod, policy, small};

const TCP_80: MatrixRequest = MatrixRequest {
    protocol: AskedProtocol::Number(IpProtocol::TCP),
    port: Some(80),
    family: None,
};

fn seen(text: &str, request: MatrixRequest) -> Matrix {
    matrix(&inventory(text), &request).unwrap()
}

#[test]
fn every_ordered_pair_that_lives_has_a_row_itself_included() {
    let text = small()
        + &pod("x/done", "10.0.1.7", "").replace("Running", "Failed")
        + &pod("x/host", "192.0.2.1", "").replace("spec: {}", "spec: {hostNetwork: true}")
        + "apiVersion: v1\nkind: Pod\nmetadata: {name: lost}\n---\n"
        + &policy("x/p", "ingress: [{ports: [{port: web}]}]");
    let seen = seen(&text, TCP_80);
    let allowed: Vec<_> = seen
        .rows
        .iter()
        .filter(|row| row.verdict == Verdict::Deny)
        .map(|row| (row.from.as_str(), row.to.as_str()))
        .collect();
    assert_eq!(seen.rows.len(), 16);
    assert_eq!(allowed, [("x/b", "x/a"), ("y/a", "x/a"), ("y/c", "x/a")]);
}

#[test]
fn np_42_a_pod_reaches_itself_in_the_matrix() {
    let text = small() + &policy("x/p", "policyTypes: [Ingress, Egress]");
    let seen = seen(&text, TCP_80);
    let own: Vec<_> = seen.rows.iter().filter(|row| row.from == row.to).collect();
    assert_eq!(own.len(), 4);
    assert!(own.iter().all(|row| row.verdict == Verdict::Allow), "{own:?}");
}

#[test]
fn the_matrix_as_json_has_the_agreed_shape() {
    let text = pod("x/a", "10.0.0.1", "") + &policy("x/p", "ingress: [{}], egress: []");
    let text = text + &pod("x/b", "10.0.0.2", "");
    let seen = serde_json::to_value(seen(&text, TCP_80)).unwrap();
    assert_eq!(seen["protocol"], "TCP");
    assert_eq!(seen["port"], 80);
    assert_eq!(seen.as_object().unwrap().len(), 3);
    let wanted = serde_json::json!({
        "from": "x/a", "to": "x/b", "verdict": "allow",
        "egress": {"verdict": "allow", "by": []},
        "ingress": {"verdict": "allow", "by": [{"policy": "x/p", "rule": 0}]},
    });
    assert_eq!(seen["rows"][1], wanted);
}

#[test]
fn a_protocol_with_ports_needs_one_and_others_have_none() {
    let without = MatrixRequest { port: None, ..TCP_80 };
    let error = matrix(&inventory(&small()), &without).unwrap_err();
    assert_eq!(error, ExplainError::PortNeeded(AskedProtocol::Number(IpProtocol::TCP)));
    let icmp = MatrixRequest { protocol: AskedProtocol::Icmp, ..TCP_80 };
    let error = matrix(&inventory(&small()), &icmp).unwrap_err();
    assert_eq!(error, ExplainError::NoPorts(AskedProtocol::Icmp));
    assert_eq!(seen(&small(), MatrixRequest { port: None, ..icmp }).port, None);
}

#[test]
fn pairs_without_a_shared_family_are_left_out_with_one_notice() {
    let text = small() + &pod("y/six", "'fd00::6'", "");
    let seen = seen(&text, TCP_80);
    assert_eq!(seen.rows.len(), 17);
    assert!(seen.notices[0].message.starts_with("8 pairs"), "{:?}", seen.notices);
    let six = MatrixRequest { family: Some(Family::V6), ..TCP_80 };
    assert_eq!(matrix(&inventory(&text), &six).unwrap().rows.len(), 1);
}

#[test]
fn pods_without_a_row_are_counted_in_one_notice() {
    let text = small()
        + &pod("x/done", "10.0.1.7", "").replace("Running", "Failed")
        + &pod("x/host", "192.0.2.1", "").replace("spec: {}", "spec: {hostNetwork: true}")
        + &pod("y/host", "192.0.2.2", "").replace("spec: {}", "spec: {hostNetwork: true}")
        + "apiVersion: v1\nkind: Pod\nmetadata: {name: lost}\n---\n";
    let seen = seen(&text, TCP_80);
    assert_eq!(seen.notices.len(), 1);
    assert_eq!(
        seen.notices[0].message,
        "pods without a row: 1 ended, 2 on their node's network, 1 without an address"
    );
}

#[test]
fn pods_that_share_an_address_have_rows_and_reach_only_themselves() {
    let text = pod("x/a", "10.0.0.1", "") + &pod("x/b", "10.0.0.1", "");
    let text = text + &pod("x/c", "10.0.0.3", "");
    let passing: Vec<_> = seen(&text, TCP_80)
        .rows
        .into_iter()
        .filter(|row| row.verdict == Verdict::Allow)
        .map(|row| (row.from, row.to))
        .collect();
    let own = |name: &str| (name.to_owned(), name.to_owned());
    assert_eq!(passing, [own("x/a"), own("x/b"), own("x/c")]);
}

#[test]
fn the_matrix_as_text_is_as_it_was() {
    let text = pod("x/a", "10.0.0.1", "")
        + &pod("x/long", "10.0.0.2", "app: b")
        + &policy("x/p", "podSelector: {matchLabels: {app: b}}")
        + &policy("x/q", "policyTypes: [Egress], egress: [{ports: [{}]}]");
    assert_eq!(
        seen(&text, TCP_80).to_string(),
        "TCP 80\n\
         x/a    -> x/a     allow\n\
         x/a    -> x/long  deny   ingress denied, x/q egress[0]\n\
         x/long -> x/a     allow  x/q egress[0]\n\
         x/long -> x/long  allow\n"
    );
}

#[test]
fn two_policies_of_one_name_are_told_apart() {
    let calico = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p, \
                  namespace: x}\nspec: {order: 5, ingress: [{action: Allow}]}\n---\n";
    let by = |text: &str| {
        let row = seen(&(small() + text), TCP_80)
            .rows
            .into_iter()
            .find(|row| row.from == "y/a" && row.to == "x/a")
            .unwrap();
        row.ingress.by.into_iter().map(|rule| rule.policy).collect::<Vec<_>>()
    };
    assert_eq!(by(calico), ["x/p"]);
    let both = calico.to_owned() + &policy("x/p", "podSelector: {}");
    assert_eq!(by(&both), ["NetworkPolicy.projectcalico.org x/p"]);
}
