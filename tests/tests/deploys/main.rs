//! Deployments on three nodes, good ones and bad ones, under load.

mod crash;
mod drain;
mod fidelity;
mod health;
mod judged;
mod order;
mod reasons;
mod rollback;
mod rollout;
mod schemas;
mod settings;
mod strategies;

use std::process::ExitCode;

use temps_tests::suite;

fn main() -> ExitCode {
    suite::run(&[
        ("there_and_back_under_load_drops_nothing", rollout::there_and_back),
        ("an_application_of_http2_is_rolled_out_under_load", rollout::http2),
        ("no_request_reaches_an_application_after_its_stop_signal", rollout::no_late_request),
        ("a_stubborn_application_is_killed_after_its_grace", drain::stubborn),
        ("a_request_longer_than_the_drain_timeout_is_cut_and_counted", drain::cut),
        ("only_the_expected_status_is_healthy", health::only_the_expected_status),
        ("a_slow_start_is_judged_by_the_right_clock", health::slow_starts),
        ("an_exit_during_the_start_period_fails_at_once", health::exit_during_start),
        ("a_health_check_looks_like_a_request", health::host),
        ("a_crash_loop_after_healthy_is_rolled_back_once", crash::crash_loop),
        ("a_crashed_instance_is_replaced", crash::replaced),
        ("a_failed_release_leaves_the_old_instances_alone", rollback::untouched),
        ("a_release_that_fails_on_one_node_restores_only_what_was_replaced", rollback::partly),
        ("a_healthy_release_that_fails_or_delays_requests_is_taken_back", judged::taken_back),
        ("little_traffic_and_leaving_clients_decide_nothing", judged::undecided),
        ("an_instance_that_hangs_takes_its_release_back", judged::hangs),
        // With many projects, and so the last one on its cluster.
        ("errors_as_rare_as_before_are_no_reason", judged::noise),
        ("what_is_kept_warm_is_back_at_once", judged::warm),
        ("a_rollback_by_hand_takes_seconds", rollback::by_hand),
        ("blue_green_moves_all_requests_at_once", strategies::blue_green),
        ("a_canary_gets_its_share_and_keeps_its_clients", strategies::canary),
        ("recreate_never_runs_two_releases_at_once", strategies::recreate),
        ("a_paused_deployment_waits_after_its_step", strategies::paused),
        ("the_same_bundle_again_changes_nothing", order::no_change),
        // So is this.
        ("the_later_of_two_deployments_wins", order::later_wins),
        ("a_cancelled_deployment_leaves_one_version", order::cancel),
        ("a_deployment_outlives_its_command", order::orphaned),
        ("settings_of_the_cluster_win_when_it_is_deployed_again", settings::kept),
        ("a_schema_keeps_releases_apart", schemas::kept_apart),
        ("every_node_tells_why_an_instance_is_there_or_gone", reasons::why),
        ("variables_arrive_byte_for_byte", fidelity::variables),
        ("forwarding_headers_are_ours_through_every_node", fidelity::forwarded),
        ("host_names_are_compared_normalised", fidelity::hosts),
    ])
}
