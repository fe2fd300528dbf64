//! What ADD gives: interfaces, addresses, routes, name servers, in the shape of each version.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use lockgate_dataplane::ids::Mac;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::attach::{GATEWAY_V4, GATEWAY_V6, InterfaceName};

use super::failure::{Code, Failure};
use super::protocol::mac_text;
use super::version::Version;

/// Where the pod's end stands in the list of interfaces.
const POD_END: usize = 1;

/// A pod that has been attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The switch's end.
    pub interface: InterfaceName,
    /// Its MAC.
    pub interface_mac: Mac,
    /// The pod's end.
    pub ifname: InterfaceName,
    /// Its MAC.
    pub mac: Mac,
    /// Their MTU, in bytes.
    pub mtu: u16,
    /// The pod's network namespace.
    pub sandbox: String,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// Name servers, as they came.
    pub dns: Value,
}

impl Outcome {
    /// The document for the runtime.
    #[must_use]
    pub fn document(&self, version: Version) -> Value {
        let mut pod = json!({
            "name": self.ifname.as_str(), "mac": self.mac.to_string(), "sandbox": self.sandbox,
        });
        let mut switch = json!({
            "name": self.interface.as_str(), "mac": self.interface_mac.to_string(),
        });
        if version >= Version::V1_1 {
            pod["mtu"] = self.mtu.into();
            switch["mtu"] = self.mtu.into();
        }
        let ips: Vec<Value> = self.addresses.iter().map(|&one| ip(one, version)).collect();
        let routes: Vec<Value> = self
            .addresses
            .iter()
            .map(|address| json!({ "dst": everything(*address), "gw": gateway(*address) }))
            .collect();
        json!({
            "cniVersion": version.text(),
            "interfaces": [switch, pod],
            "ips": ips,
            "routes": routes,
            "dns": self.dns,
        })
    }

    /// Reads what ADD gave, as the runtime tells it to CHECK. Plugins after this one may have
    /// added interfaces; ours are known by their names. Results before 1.1.0 have no MTU: it is
    /// then the one of the configuration.
    ///
    /// # Errors
    /// Where it is not what ADD gives for this interface.
    pub fn read(
        previous: &Value,
        interface: &InterfaceName,
        ifname: &InterfaceName,
        mtu: u16,
    ) -> Result<Self, Failure> {
        let whole: Whole = Deserialize::deserialize(previous)
            .map_err(|error| unlike(&format!("is not what ADD gave: {error}")))?;
        let find = |name: &InterfaceName, is_inside: bool| {
            let found =
                whole.interfaces.iter().enumerate().find(|(_, one)| {
                    one.name == name.as_str() && one.sandbox.is_empty() != is_inside
                });
            found.ok_or_else(|| unlike(&format!("has no interface {name}")))
        };
        let mac = |one: &Interface| {
            mac_text::parse(&one.mac).ok_or_else(|| unlike(&format!("says the MAC {:?}", one.mac)))
        };
        let (_, switch) = find(interface, false)?;
        let (at, pod) = find(ifname, true)?;
        let own = whole.ips.iter().filter(|ip| ip.interface == Some(at));
        Ok(Self {
            interface: interface.clone(),
            interface_mac: mac(switch)?,
            ifname: ifname.clone(),
            mac: mac(pod)?,
            mtu: pod.mtu.unwrap_or(mtu),
            sandbox: pod.sandbox.clone(),
            addresses: own.map(|ip| ip.address.addr()).collect(),
            dns: whole.dns.into(),
        })
    }
}

fn ip(address: IpAddr, version: Version) -> Value {
    let (bits, family) = if address.is_ipv6() { (128, "6") } else { (32, "4") };
    let mut ip = json!({
        "interface": POD_END,
        "address": format!("{address}/{bits}"),
        "gateway": gateway(address),
    });
    if version == Version::V0_4 {
        ip["version"] = family.into();
    }
    ip
}

fn gateway(address: IpAddr) -> IpAddr {
    if address.is_ipv6() { GATEWAY_V6.into() } else { GATEWAY_V4.into() }
}

fn everything(address: IpAddr) -> String {
    let none: IpAddr =
        if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    format!("{none}/0")
}

fn unlike(what: &str) -> Failure {
    let remedy = "it is the runtime that writes it, from what ADD gave: call DEL, then ADD";
    Failure::new(Code::INVALID_CONFIG, format!("prevResult {what}"), remedy)
}

/// What an IPAM plugin gives for a pod: what we use of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The pod's addresses: at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Name servers, as they came.
    pub dns: Map<String, Value>,
}

impl Lease {
    /// Reads what an IPAM plugin printed.
    ///
    /// # Errors
    /// Where that is no result, or not one address of a family, or a route that the pod can't have.
    pub fn read(text: &[u8], kind: &str) -> Result<Self, Failure> {
        let wrong = |code, what: String, remedy: &str| {
            Failure::new(code, format!("the IPAM plugin {kind} {what}"), remedy)
        };
        let whole: Whole = serde_json::from_slice(text).map_err(|error| {
            let remedy = "use an IPAM plugin of specification 0.4.0, 1.0.0 or 1.1.0";
            wrong(Code::DECODING, format!("gave no result: {error}"), remedy)
        })?;
        let addresses: Vec<IpAddr> = whole.ips.iter().map(|ip| ip.address.addr()).collect();
        let of = |v6: bool| addresses.iter().filter(|one| one.is_ipv6() == v6).count();
        if addresses.is_empty() || of(false) > 1 || of(true) > 1 {
            let shown: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            let remedy = "a pod has one address, or one of each family: correct its ranges in ipam";
            let what = format!("gave {} addresses ({})", shown.len(), shown.join(", "));
            return Err(wrong(Code::INVALID_CONFIG, what, remedy));
        }
        let elsewhere = whole.routes.iter().find(|route| {
            route
                .gw
                .is_some_and(|gw| gw != IpAddr::from(GATEWAY_V4) && gw != IpAddr::from(GATEWAY_V6))
        });
        if let Some(Route { dst, gw: Some(gw) }) = elsewhere {
            let what = format!("gave a route to {dst} by {gw}");
            let remedy = "leave gw out of ipam.routes: a pod sends everything to the switch";
            return Err(wrong(Code::INVALID_CONFIG, what, remedy));
        }
        Ok(Self { addresses, dns: whole.dns })
    }
}

/// A result of any version: what we use of it.
#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    interfaces: Vec<Interface>,
    #[serde(default)]
    ips: Vec<Ip>,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    dns: Map<String, Value>,
}

#[derive(Deserialize)]
struct Interface {
    name: String,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    sandbox: String,
    mtu: Option<u16>,
}

#[derive(Deserialize)]
struct Ip {
    address: IpNet,
    interface: Option<usize>,
}

#[derive(Deserialize)]
struct Route {
    dst: IpNet,
    gw: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            interface: InterfaceName::new("lg0123456789abc").unwrap(),
            interface_mac: Mac([2, 0, 0, 0, 0, 1]),
            ifname: InterfaceName::new("eth0").unwrap(),
            mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            sandbox: "/run/netns/a".into(),
            addresses: vec!["10.244.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
            dns: json!({"nameservers": ["10.96.0.10"]}),
        }
    }

    #[test]
    fn a_result_has_the_shape_of_1_0_0() {
        let wanted = json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                {"name": "lg0123456789abc", "mac": "02:00:00:00:00:01"},
                {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/a"},
            ],
            "ips": [
                {"interface": 1, "address": "10.244.0.5/32", "gateway": "169.254.1.1"},
                {"interface": 1, "address": "fd00::5/128", "gateway": "fe80::1"},
            ],
            "routes": [
                {"dst": "0.0.0.0/0", "gw": "169.254.1.1"},
                {"dst": "::/0", "gw": "fe80::1"},
            ],
            "dns": {"nameservers": ["10.96.0.10"]},
        });
        assert_eq!(outcome().document(Version::V1_0), wanted);
    }

    #[test]
    fn versions_differ_in_the_family_and_the_mtu() {
        let old = outcome().document(Version::V0_4);
        assert_eq!(
            (&old["ips"][0]["version"], &old["ips"][1]["version"]),
            (&json!("4"), &json!("6"))
        );
        assert_eq!(old["interfaces"][1].get("mtu"), None);
        let new = outcome().document(Version::V1_1);
        assert_eq!(new["interfaces"][1]["mtu"], 1500);
        assert_eq!(new["ips"][0].get("version"), None);
    }

    #[test]
    fn what_add_gave_is_read_back_though_others_added_to_it() {
        let given = outcome();
        for version in Version::ALL {
            let mut document = given.document(version);
            let other = json!({"name": "eth0", "mac": "02:00:00:00:00:09"});
            document["interfaces"].as_array_mut().unwrap().push(other);
            let ip = json!({"address": "10.1.1.1/24", "interface": 2});
            document["ips"].as_array_mut().unwrap().push(ip);
            let read = Outcome::read(&document, &given.interface, &given.ifname, 1400);
            let mtu = if version == Version::V1_1 { 1500 } else { 1400 };
            assert_eq!(read.unwrap(), Outcome { mtu, ..given.clone() });
        }
    }

    #[test]
    fn a_previous_result_of_another_interface_is_refused() {
        let (given, other) = (outcome(), InterfaceName::new("lg1").unwrap());
        let refused = |document: &Value, interface: &InterfaceName| {
            Outcome::read(document, interface, &given.ifname, 1500).unwrap_err()
        };
        let document = given.document(Version::V1_0);
        assert!(refused(&document, &other).message.contains("has no interface lg1"));
        let mut garbled = document.clone();
        garbled["interfaces"][1]["mac"] = "x".into();
        assert!(refused(&garbled, &given.interface).message.contains("the MAC \"x\""));
        assert!(
            refused(&json!({"ips": 3}), &given.interface).message.contains("not what ADD gave")
        );
    }

    #[test]
    fn a_lease_of_any_version_is_read() {
        for text in [
            r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24",
                "gateway":"10.0.0.1"}],"dns":{"domain":"x"}}"#,
            r#"{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}],
                "routes":[{"dst":"0.0.0.0/0"}],"dns":{"domain":"x"}}"#,
        ] {
            let lease = Lease::read(text.as_bytes(), "host-local").unwrap();
            assert_eq!(lease.addresses, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
            assert_eq!(lease.dns["domain"], "x");
        }
    }

    #[test]
    fn a_lease_that_no_pod_can_have_is_refused() {
        for (text, said) in [
            ("", "host-local gave no result"),
            ("{}", "gave 0 addresses"),
            (
                r#"{"ips":[{"address":"10.0.0.2/24"},{"address":"10.0.0.3/24"}]}"#,
                "gave 2 addresses",
            ),
            (r#"{"ips":[{"address":"here"}]}"#, "gave no result"),
            (
                r#"{"ips":[{"address":"10.0.0.2/24"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]}"#,
                "a route to 0.0.0.0/0 by 10.0.0.1",
            ),
        ] {
            let failure = Lease::read(text.as_bytes(), "host-local").unwrap_err();
            assert!(failure.message.contains(said), "{text}: {failure}");
        }
    }
}
