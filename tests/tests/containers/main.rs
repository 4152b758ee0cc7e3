//! What only containers bring: engines that hang, images that are built, moved and cleaned up, hands that are in
//! the way, disks that fill up.
//!
//! With `TEMPS_GROUND=process` nothing is run: somebody runs the tests on containers apart.

mod addresses;
mod cables;
mod contained;
mod detected;
mod disk;
mod images;
mod lost;
mod orphans;
mod release;
mod stops;
mod tags;
mod volumes;
mod workers;

use std::process::ExitCode;

use temps_tests::ground::Ground;
use temps_tests::suite::{self, Case};

const CASES: &[(&str, Case)] = &[
    ("a_container_reaches_nothing_outside", contained::contained),
    ("what_would_reach_outside_is_refused", contained::refused),
    ("a_wrong_port_is_named", contained::ports),
    ("variables_survive_restarts_and_hands", contained::variables),
    ("a_failed_build_leaves_all_as_it_was", images::build_fails),
    ("a_directory_without_a_dockerfile_is_built", detected::built),
    ("images_for_rollbacks_are_kept", images::kept),
    ("a_tag_is_resolved_once", tags::resolved_once),
    ("a_release_command_runs_once", release::once),
    ("a_failed_release_command_changes_nothing", release::failed),
    ("a_killed_agent_leaves_no_orphan", orphans::killed_agent),
    ("strangers_are_left_alone_and_orphans_are_not", orphans::strangers),
    ("a_long_goodbye_is_waited_for", stops::long_goodbye),
    ("out_of_memory_is_told_as_that", stops::out_of_memory),
    ("a_container_removed_by_hand_is_no_crash", stops::removed_by_hand),
    ("a_hung_engine_is_no_failure", stops::hung_engine),
    ("a_restarted_engine_moves_nothing", stops::restarted_engine),
    ("a_worker_finishes_its_job_and_is_never_two", workers::handed_over),
    ("a_worker_is_judged_by_its_check", workers::checked),
    ("a_worker_that_is_cut_off_stops_by_itself", workers::cut_off),
    ("a_volume_stays_with_its_node", volumes::kept),
    ("instances_run_where_labels_allow", volumes::placed),
    ("a_freed_address_brings_no_strangers_answers", addresses::swapped),
    ("a_reboot_brings_no_strangers_answers", addresses::rebooted),
    ("a_flood_of_log_lines_is_capped", disk::flood),
    ("a_full_disk_is_told_before_anything_begins", disk::full),
    ("a_cut_off_leader_is_harmless", cables::cut_off_leader),
    ("a_build_and_a_rollback_survive_their_machine", lost::builder_and_source),
];

fn main() -> ExitCode {
    let elsewhere = std::env::var_os("TEMPS_GROUND").is_some_and(|ground| ground == Ground::Processes.word());
    suite::run_on(Ground::Docker, if elsewhere { &[] } else { CASES })
}
