//! The trip service over a real database, with matching and billing played by the test.

mod access;
mod beside;
mod booked;
mod create;
mod edit;
mod fees;
mod final_fare;
mod finish;
mod lists;
mod offers;
mod payment;
mod payment_events;
mod pins;
mod races;
mod recovery;
mod sagas;
mod schema;
mod seats;
mod second_rides;
mod soak;
mod stats;
mod stops;
mod support;
mod timers;
mod together;
mod watch;
