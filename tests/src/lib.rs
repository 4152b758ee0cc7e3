//! What the black-box tests, the demo and the chaos runs are made of: a cluster of the real binary
//! in a directory of its own, on processes or on machines with Docker engines, an application to deploy
//! on it, a load that records every request, and faults.
//!
//! Everything is seen from outside: through the command line, through the edges, and through the
//! operating system. Nothing here knows the code of the product.

pub mod acme;
pub mod app;
pub mod browser;
pub mod chrome;
pub mod cli;
pub mod cluster;
pub mod deployment;
pub mod engines;
pub mod faults;
pub mod followed;
pub mod ground;
pub mod hands;
pub mod hook;
pub mod links;
pub mod load;
pub mod machine;
pub mod mail;
pub mod node;
pub mod notes;
pub mod paths;
pub mod settled;
pub mod stage;
pub mod suite;
pub mod together;
pub mod trouble;
pub mod wait;
