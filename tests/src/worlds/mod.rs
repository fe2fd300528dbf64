//! Small random worlds: pods, namespaces and policies as raw objects.
//!
//! Small on purpose: three namespaces, a handful of pods, an alphabet of two labels and a dozen
//! addresses, so that selectors, blocks and ports meet all the time. One generator serves two
//! masters, because it draws from [`Choices`]: a seed (fast, repeatable) or proptest's numbers
//! (shrinkable; exhausted choices are 0, and 0 is always the simplest choice).

mod aim;
mod break_object;
mod choices;
mod cluster;
mod policy;
mod probe;
mod shrink;
mod tiered;

use proptest::prelude::{Strategy, any};
use serde_json::Value;

pub use choices::Choices;
pub use probe::{matrix, probes, sample};
pub use shrink::shrink;

/// Numbers given to a world by proptest: more than any world draws.
const DRAWS_MAX: usize = 400;

/// A world: objects in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Raw objects.
    pub objects: Vec<Value>,
}

impl World {
    /// Makes up a world that the API server would accept.
    #[must_use]
    pub fn sound(choices: &mut Choices) -> Self {
        let mut objects = cluster::objects(choices);
        let namespaces = cluster::namespaces_of(&objects);
        for number in 0..choices.below(7) {
            let policy = policy::policy(choices, &namespaces, number);
            // Order must not matter: some policies come before what they select.
            let place = if choices.chance(30) { 0 } else { objects.len() };
            objects.insert(place, policy);
        }
        Self { objects }
    }

    /// Makes up a world and then breaks one or more places of its policies, perhaps of another
    /// object too, and now and then what a pod says of its addresses.
    #[must_use]
    pub fn broken(choices: &mut Choices) -> Self {
        let mut world = Self::sound(choices);
        for _ in 0..=choices.below(3) {
            break_object::break_one(&mut world.objects, choices);
        }
        if choices.chance(25) {
            break_object::contradict(&mut world.objects, choices);
        }
        if choices.chance(40) {
            break_object::doubt_one(&mut world.objects, choices);
        }
        world
    }

    /// The world as a manifest: documents of YAML, now and then one of JSON, which is YAML too.
    ///
    /// # Panics
    /// Never: every object can be written.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (place, object) in self.objects.iter().enumerate() {
            text.push_str("---\n");
            if place % 5 == 4 {
                text.push_str(&object.to_string());
                text.push('\n');
            } else {
                text.push_str(&serde_yaml_ng::to_string(object).unwrap_or_default());
            }
        }
        text
    }
}

/// Sound worlds for proptest.
pub fn any_sound_world() -> impl Strategy<Value = World> {
    any_choices().prop_map(|numbers| World::sound(&mut Choices::from_numbers(numbers)))
}

/// Broken worlds for proptest.
pub fn any_broken_world() -> impl Strategy<Value = World> {
    any_choices().prop_map(|numbers| World::broken(&mut Choices::from_numbers(numbers)))
}

fn any_choices() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(any::<u32>(), 0..DRAWS_MAX)
}
