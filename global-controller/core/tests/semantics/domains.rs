//! Rule 7 with `order`: priorities and failure domains.

use crds::Outcome;
use rollout_core::order;

use crate::world::{Spec, World};

/// A fleet of members `name/priority/region`, either left out where there is none.
fn fleet(rollout_order: &str, steps: &str, members: &[&str]) -> World {
    let spec = Spec::selecting(steps).with(|spec| spec.order = Some(rollout_order.to_owned()));
    let mut world = World::new(spec, &[]);
    for member in members {
        let mut parts = member.split('/');
        let name = parts.next().unwrap();
        world.join(name, "prod");
        for key in ["priority", "region"] {
            if let Some(value) = parts.next().filter(|value| !value.is_empty()) {
                let labels = &mut world.members.get_mut(name).unwrap().labels;
                labels.insert(key.to_owned(), value.to_owned());
            }
        }
    }
    world
}

fn planned(rollout_order: &str, members: &[&str]) -> Vec<String> {
    let world = fleet(rollout_order, "[{setWeight: 10}]", members);
    order(world.rollout().unwrap(), &world.members).members
}

#[test]
fn semantics_07_smaller_priorities_come_first_and_members_without_one_last() {
    let members = ["a", "b/20", "c/9", "d/-1", "e/soon", "f/9"];
    assert_eq!(planned("{priorityLabel: priority}", &members), ["d", "c", "f", "b", "a", "e"]);
}

#[test]
fn semantics_07_named_targets_stay_before_all_others() {
    let mut world = fleet("{priorityLabel: priority}", "[{setWeight: 10}]", &["a/3", "b/2", "c/1"]);
    world.edit(|spec| spec.targets = vec!["a".to_owned()]);
    assert_eq!(order(world.rollout().unwrap(), &world.members).members, ["a", "c", "b"]);
}

#[test]
fn semantics_07_domains_take_turns_and_the_last_of_each_comes_at_the_end() {
    let members = ["a1//east", "a2//east", "a3//east", "b1//west", "b2//west", "c1//north", "n"];
    let planned = planned("{spreadBy: region}", &members);
    assert_eq!(planned, ["a1", "b1", "a2", "n", "c1", "b2", "a3"]);
    // However large a wave before the end is, while it leaves one member for each domain.
    for wave in 1..=members.len() - 4 {
        for domain in ["a", "b", "c", "n"] {
            let all = planned.iter().filter(|name| name.starts_with(domain)).count();
            let taken = planned.iter().take(wave).filter(|name| name.starts_with(domain)).count();
            assert!(taken < all, "a first wave of {wave} has all of {domain} in it");
        }
    }
}

#[test]
fn semantics_07_within_a_priority_domains_take_turns() {
    let members = ["a/1/east", "b/1/east", "c/2/east", "d/1/west", "e/2/west", "f/2/west"];
    assert_eq!(planned("{priorityLabel: priority, spreadBy: region}", &members), ["a", "d", "b", "e", "c", "f"]);
}

#[test]
fn semantics_12_no_more_members_of_a_domain_are_in_flux_than_it_bears() {
    let members = ["a1//east", "a2//east", "a3//east", "b1//west", "b2//west"];
    for (limit, expected) in [("1", (1, 1)), ("\"40%\"", (2, 1)), ("3", (3, 2))] {
        let order = format!("{{spreadBy: region, maxPerDomain: {limit}}}");
        let mut world = fleet(&order, "[{setWeight: 100}]", &members);
        world.edit(|spec| spec.max_concurrency = Some("5".to_owned()));
        world.decide();
        world.all_answer(&["a1", "a2", "a3", "b1", "b2"], Outcome::Observed);
        let orders = world.orders();
        let told = |domain: char| orders.iter().filter(|order| order.starts_with(&format!("Apply {domain}"))).count();
        assert_eq!((told('a'), told('b')), expected, "{limit}: {orders:?}");
        world.rest();
        assert_eq!(world.applied().len(), 5, "the others follow when these are healthy");
    }
}

#[test]
fn semantics_07_a_limit_for_domains_needs_domains() {
    let problems = |order: &str| {
        let spec = Spec::selecting("[{setWeight: 10}]").with(|spec| spec.order = Some(order.to_owned()));
        spec.validate().unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        problems("{maxPerDomain: 1}"),
        [
            "spec.rolloutStrategy.order: \"{}\": give priorityLabel, spreadBy or both",
            "spec.rolloutStrategy.order.maxPerDomain: \"1\": needs spreadBy, which says what a domain is",
        ]
    );
    assert_eq!(
        problems("{spreadBy: region, maxPerDomain: 0}"),
        ["spec.rolloutStrategy.order.maxPerDomain: \"0\": must be 1 to 100000, or \"1%\" to \"100%\""]
    );
}
