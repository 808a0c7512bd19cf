//! The gateway as phones meet it: real HTTP over the loopback, real gRPC to services that are fakes.
#![allow(missing_docs, clippy::unwrap_used, clippy::result_large_err)]

mod attacks;
mod backend;
mod edges;
mod grpc_web;
mod limits;
mod login;
mod pages;
mod refusals;
mod sandbox;
mod sockets;
mod streams;
mod tiles;
mod unary;
