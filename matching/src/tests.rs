//! The service as its callers meet it: over its rpcs, behind its guard, on a database, with a clock
//! that the test moves.

mod bookings;
mod driver_stream;
mod looks;
mod maps;
mod meter;
mod offers;
mod overlaps;
mod restart;
mod rounds;
mod rpcs;
mod second_rides;
mod store;
mod support;
mod traffic;
