use super::*;

fn network() -> Network {
    Network {
        name: "lockgate".into(),
        socket: "/run/lockgate/cni.sock".into(),
        mtu: 1500,
        timeout_seconds: 30,
        data_dir: "/run/lockgate/ipam".into(),
        pod_cidrs: vec!["10.244.0.0/24".parse().unwrap(), "fd00:244::/64".parse().unwrap()],
    }
}

/// Places in a directory of their own, with a program to install.
fn places(root: &Path) -> Places {
    let places = Places {
        program: root.join("agent/lockgate-cni"),
        bin_dir: root.join("bin"),
        conf_dir: root.join("net.d"),
        number: 10,
    };
    for directory in ["agent", "bin", "net.d"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(&places.program, "program").unwrap();
    places
}

#[test]
fn the_configuration_is_whole_and_understood_by_the_plugin() {
    let document = network().document();
    let ipam = json!({
        "type": "host-local", "dataDir": "/run/lockgate/ipam",
        "ranges": [[{"subnet": "10.244.0.0/24"}], [{"subnet": "fd00:244::/64"}]],
    });
    assert_eq!(document["cniVersion"], "1.0.0");
    assert_eq!(document["plugins"][0]["ipam"], ipam);
    assert_eq!(document["plugins"][1]["capabilities"], json!({"portMappings": true}));
    let mut own = document["plugins"][0].as_object().unwrap().clone();
    own.insert("name".into(), document["name"].clone());
    own.insert("cniVersion".into(), document["cniVersion"].clone());
    let read = super::super::config::Config::read(&own, super::super::version::Version::V1_0);
    assert_eq!(read.unwrap().socket, PathBuf::from("/run/lockgate/cni.sock"));
}

#[test]
fn what_is_missing_broken_or_old_is_put_and_what_is_right_is_left() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path());
    let (program, config) = (places.bin_dir.join(PROGRAM), places.config());
    let install = || places.install(&network()).unwrap();
    let done = |program, config| Installed {
        is_program_new: program,
        is_config_new: config,
        before_ours: vec![],
    };
    assert_eq!(install(), done(true, true));
    assert_eq!(fs::read_to_string(&program).unwrap(), "program");
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(install(), done(false, false));
    fs::write(&config, "{broken").unwrap();
    assert_eq!(install(), done(false, true));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(install(), done(true, false));
    fs::write(&places.program, "newer").unwrap();
    assert_eq!(install(), done(true, false));
    let changed = Network { mtu: 1400, ..network() };
    assert!(places.install(&changed).unwrap().is_config_new);
    let read: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    assert_eq!(read, changed.document());
    let left: Vec<_> = fs::read_dir(&places.conf_dir).unwrap().collect();
    assert_eq!(left.len(), 1, "something was left beside: {left:?}");
}

#[test]
fn others_are_left_alone_and_told_of_where_they_come_first() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path());
    let file = |name: &str| places.conf_dir.join(name);
    for name in ["05-other.conflist", "99-late.conf", "01-readme.txt", "my-lockgate.conflist"] {
        fs::write(file(name), name).unwrap();
    }
    fs::write(file("07-lockgate.conflist"), "of another number").unwrap();
    let installed = places.install(&network()).unwrap();
    assert_eq!(installed.before_ours, [file("05-other.conflist")]);
    assert!(!file("07-lockgate.conflist").exists(), "two of ours");
    places.uninstall().unwrap();
    places.uninstall().unwrap();
    let mut left: Vec<_> = fs::read_dir(&places.conf_dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["01-readme.txt", "05-other.conflist", "99-late.conf", "my-lockgate.conflist"]
    );
    assert!(!places.bin_dir.join(PROGRAM).exists());
}

#[test]
fn what_the_system_refuses_is_named_with_its_remedy() {
    let root = tempfile::tempdir().unwrap();
    let missing = Places { conf_dir: root.path().join("slip"), ..places(root.path()) };
    let error = missing.install(&network()).unwrap_err().to_string();
    assert!(error.contains("slip/10-lockgate.conflist: No such file"), "{error}");
    assert!(error.contains("cni_conf_dir"), "{error}");
    for (number, said) in [
        (nix::libc::ENOSPC, "make room in /a"),
        (nix::libc::EROFS, "mount /a writable"),
        (nix::libc::EACCES, "may write in /a"),
    ] {
        let error = wrong("write", Path::new("/a/b"))(io::Error::from_raw_os_error(number));
        assert!(error.to_string().ends_with(said), "{error}");
    }
}
