//! What the API says of the states of a ride is what the trip machine's table says.

use std::collections::BTreeSet;

use jitney_trips::state::{Cell, State, TABLE};

/// The comment of a value of an enum.
fn comment_of(enumeration: &str, value: &str) -> String {
    let pool = jitney_proto::descriptor_pool();
    let enumeration = pool.get_enum_by_name(enumeration).unwrap();
    let value = enumeration.get_value_by_name(value).unwrap();
    let file = enumeration.parent_file();
    let proto = file.file_descriptor_proto();
    let mut located = proto
        .source_code_info
        .iter()
        .flat_map(|info| &info.location);
    let at = located.find(|at| at.path == value.path()).unwrap();
    let words = at.leading_comments().split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

/// What a comment lists behind `Next:`.
fn next_in(comment: &str) -> BTreeSet<String> {
    let listed = comment.split_once("Next: ").map(|(_, listed)| listed);
    let names = listed.into_iter().flat_map(|listed| {
        let listed = listed.strip_suffix('.').unwrap();
        listed.split(", ").map(str::to_owned)
    });
    names.collect()
}

#[test]
fn the_api_says_where_every_state_leads() {
    for (state, row) in &TABLE {
        let comment = comment_of(
            "jitney.trips.v1.TripState",
            &format!("TRIP_STATE_{}", state.name()),
        );
        let moves = row.iter().filter_map(|cell| match cell {
            Cell::To(to) if to != state => Some(to.name().to_owned()),
            _ => None,
        });
        assert_eq!(next_in(&comment), moves.collect(), "{state}: {comment}");
        assert_eq!(comment.starts_with("Over: "), state.is_end(), "{comment}");
    }
    assert_eq!(TABLE.len(), State::ALL.len());
}
