//! Making a world that shows a disagreement as small as it can be.

use serde_json::Value;

use super::World;

/// Takes away documents, items and fields for as long as `still_fails` holds. Names are kept,
/// so that a question about the first world still means something in the last.
pub fn shrink(world: &World, mut still_fails: impl FnMut(&World) -> bool) -> World {
    let mut root = Value::Array(world.objects.clone());
    loop {
        let before = root.clone();
        for pointer in pointers(&root) {
            let Some(smaller) = without(&root, &pointer) else { continue };
            let Value::Array(objects) = &smaller else { continue };
            if still_fails(&World { objects: objects.clone() }) {
                root = smaller;
            }
        }
        if root == before {
            let Value::Array(objects) = root else { return world.clone() };
            return World { objects };
        }
    }
}

/// Every place below the root, later siblings first so that indices stay true on removal.
fn pointers(node: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match node {
        Value::Object(fields) => fields.iter().map(|(name, child)| (name.clone(), child)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .rev()
            .map(|(place, child)| (place.to_string(), child))
            .collect(),
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for (step, child) in children {
        let step = step.replace('~', "~0").replace('/', "~1");
        found.push(format!("/{step}"));
        found.extend(pointers(child).into_iter().map(|below| format!("/{step}{below}")));
    }
    found
}

fn without(root: &Value, pointer: &str) -> Option<Value> {
    if ["/kind", "/apiVersion", "/name"].iter().any(|kept| pointer.ends_with(kept)) {
        return None;
    }
    let mut smaller = root.clone();
    let (parent, step) = pointer.rsplit_once('/')?;
    let step = step.replace("~1", "/").replace("~0", "~");
    match smaller.pointer_mut(parent)? {
        Value::Object(fields) => drop(fields.remove(&step)?),
        Value::Array(items) => {
            let place: usize = step.parse().ok()?;
            if place >= items.len() {
                return None;
            }
            items.remove(place);
        }
        _ => return None,
    }
    Some(smaller)
}
