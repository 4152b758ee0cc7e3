//! Containers of a real engine, as their applications, their operators and their strangers meet them.

mod check;
mod contained;
mod ends;
mod engine;
mod logs;

mod stop;
mod strangers;
mod support;
