//! Machines that are emptied, and machines that leave for good.

mod drain;
mod remove;

use std::process::ExitCode;

use temps_tests::suite;

fn main() -> ExitCode {
    suite::run(&[
        ("draining_every_node_fails_no_request", drain::under_load),
        ("a_rollout_and_a_drain_go_together", drain::during_a_rollout),
        ("an_exclusive_process_moves_and_never_runs_twice", drain::exclusive),
        ("what_cannot_be_drained_or_removed_says_why", remove::refused),
        ("a_removed_node_stays_away", remove::stale),
        ("the_leaders_node_is_removed", remove::leading),
    ])
}
