//! Importing real extracts, each with a quirk of its own.

use jitney_roads::{RoadNetwork, import, testmap};

use crate::maps;

fn imported(name: &str) -> Option<RoadNetwork> {
    let network = import(&maps::shared_extract(name)?).unwrap();
    println!("{name}\n{}", network.report());
    let report = network.report();
    assert_eq!(report.nodes, network.node_count() as u64);
    assert_eq!(report.segments, network.segment_count() as u64);
    assert_eq!(report.arcs, network.arc_count() as u64);
    assert_eq!(network.attribution(), "© OpenStreetMap contributors");
    assert!(
        (5.0..60.0).contains(&network.top_speed_m_per_s()),
        "{}",
        network.top_speed_m_per_s()
    );
    let kept = network.node_count() as f64 / (report.nodes + report.unreachable_nodes) as f64;
    assert!(kept > 0.75, "only {kept} of the nodes are connected");
    for pair in testmap::random_snaps(&network, 11, 60).chunks(2) {
        assert!(
            network.route(&pair[0], &pair[1]).is_some(),
            "every place reaches every other"
        );
    }
    Some(network)
}

#[test]
fn helsinki_centre() {
    let Some(network) = imported("helsinki-centre.osm.pbf") else {
        return;
    };
    assert_eq!(network.name(), "helsinki-centre");
    assert!(
        network
            .segments()
            .any(|segment| segment.street() == Some("Mannerheimintie"))
    );
}

#[test]
fn porto_alegre_without_header_or_turn_restrictions() {
    let Some(network) = imported("porto-alegre.osm.pbf") else {
        return;
    };
    assert_eq!(network.report().turn_restrictions, 0);
}

#[test]
fn oslo_without_header() {
    imported("oslo-east.osm.pbf");
}

#[test]
fn portland_with_many_turn_restrictions() {
    let Some(network) = imported("portland.osm.pbf") else {
        return;
    };
    let report = network.report();
    let dropped = report.restrictions_for_others
        + report.restrictions_conditional
        + report.restrictions_incomplete
        + report.restrictions_unclear;
    assert_eq!(report.turn_restrictions, 443);
    assert_eq!(report.restrictions_applied + dropped, 443);
    assert!(report.restrictions_applied > 400, "{report}");
}

#[test]
fn columbus_in_miles_per_hour() {
    imported("columbus.osm.pbf");
}
