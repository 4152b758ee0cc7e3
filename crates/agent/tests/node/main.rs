//! One node with real processes, as its users and its restarts would meet it.

mod check;
mod cluster;
mod lifecycle;
mod process;
mod restart;
mod supervisor;
mod support;
mod work;
