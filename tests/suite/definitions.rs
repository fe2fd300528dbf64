//! What `deploy/helm/lockgate/crds` defines is what the agent's types say.

use std::path::Path;

#[test]
fn the_definition_of_a_lockgate_node_is_what_its_type_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/helm/lockgate/crds/lockgatenodes.yaml");
    let definition = lockgate_control::applied::definition().unwrap();
    let yaml = serde_yaml_ng::to_string(&definition).unwrap();
    let wanted = format!(
        "# Made of the types in control/src/applied/node.rs; a test of the suite says how to renew \
         it.\n{yaml}"
    );
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found != wanted {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lockgatenodes.yaml");
        std::fs::write(&new, wanted).unwrap();
        panic!("the types say otherwise: cp {} {}", new.display(), path.display());
    }
}
