//! Images between a real engine and the store. Where no engine answers, each test says that it is skipped.

mod build;
mod find;
mod support;
mod travel;
