//! Files that are not maps, or no longer: an error that names the file, never a panic, never a
//! hang.

use std::fs;
use std::path::Path;

use jitney_roads::osm::import_bytes;
use jitney_roads::{RoadsError, import, testmap};

use crate::maps;

fn refusal(bytes: &[u8]) -> RoadsError {
    import_bytes(Path::new("city.osm.pbf"), bytes).unwrap_err()
}

#[test]
fn what_is_not_pbf_is_told_apart() {
    let jpeg = [
        0xff, 0xd8, 0xff, 0xe0, 0, 0x10, b'J', b'F', b'I', b'F', 0, 1, 1, 1, 0, 0x48,
    ];
    let cases: [(&[u8], &str); 8] = [
        (b"", "it is empty"),
        (&jpeg, "does not begin with a block header"),
        (b"<?xml version='1.0'?><osm/>", "XML or a web page"),
        (b"{\"elements\": []}", "JSON"),
        (&[0x1f, 0x8b, 8, 0], "gzip"),
        (b"BZh91AY", "bzip2"),
        (b"PK\x03\x04", "zip"),
        (&[0; 64], "block 1"),
    ];
    for (bytes, reason) in cases {
        let error = refusal(bytes);
        assert!(matches!(error, RoadsError::NotPbf { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.starts_with("city.osm.pbf is not an OpenStreetMap PBF file"),
            "{message}"
        );
        assert!(message.contains(reason), "{message} lacks {reason}");
    }
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let error = import(Path::new("/no/such/city.osm.pbf")).unwrap_err();
    assert!(matches!(error, RoadsError::Read { .. }));
    assert!(
        error
            .to_string()
            .starts_with("cannot read /no/such/city.osm.pbf: "),
        "{error}"
    );
}

#[test]
fn noise_after_a_plausible_beginning() {
    let mut dice = testmap::Dice::new(1);
    for length in 4..600 {
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        bytes[..3].fill(0);
        let error = refusal(&bytes);
        assert!(
            matches!(
                error,
                RoadsError::NotPbf { .. } | RoadsError::DamagedPbf { .. }
            ),
            "{error}"
        );
    }
}

/// The smallest extract with everything in it, if it is there.
fn extract() -> Option<Vec<u8>> {
    maps::shared_extract("portland.osm.pbf").map(|path| fs::read(path).unwrap())
}

#[test]
fn a_truncated_file_is_refused() {
    let Some(bytes) = extract() else { return };
    let mut dice = testmap::Dice::new(2);
    let mut lengths: Vec<usize> = (1..40).collect();
    lengths.extend((0..60).map(|_| dice.below(bytes.len() as u32) as usize));
    lengths.extend([bytes.len() - 1, bytes.len() - 2]);
    for length in lengths {
        match import_bytes(Path::new("cut.osm.pbf"), &bytes[..length]) {
            Err(RoadsError::NotPbf { .. } | RoadsError::DamagedPbf { .. }) => {}
            Err(other) => panic!("cut to {length} bytes: {other}"),
            Ok(_) => panic!("cut to {length} of {} bytes and imported", bytes.len()),
        }
    }
}

#[test]
fn a_file_cut_inside_a_length_is_refused() {
    let Some(mut bytes) = extract() else { return };
    // Bytes of a next block's length, and then nothing.
    bytes.extend([0, 0]);
    let error = import_bytes(Path::new("cut.osm.pbf"), &bytes).unwrap_err();
    assert!(error.to_string().contains("it breaks off after"), "{error}");
}

#[test]
fn flipped_bits_never_panic() {
    let Some(bytes) = extract() else { return };
    let mut dice = testmap::Dice::new(3);
    for _ in 0..60 {
        let mut bad = bytes.clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(bad.len() as u32) as usize;
            bad[at] ^= 1 << dice.below(8);
        }
        // A flipped bit may be harmless; anything but a panic is right.
        if let Err(error) = import_bytes(Path::new("bad.osm.pbf"), &bad) {
            assert!(error.to_string().contains("bad.osm.pbf"), "{error}");
        }
    }
}
