//! The road network against slower, more obvious answers, on made-up and on real maps.

#![allow(clippy::unwrap_used)] // in tests a panic is a failure, which is what it should be

mod cache;
mod damaged_files;
mod dimacs;
mod importing;
mod maps;
mod naming;
mod pbf;
mod searches;
mod snapping;
mod tiles;
mod towns;
mod turning;
