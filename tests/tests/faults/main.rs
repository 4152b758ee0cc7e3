//! Deployments and traffic while parts of the cluster are dead, frozen or alone.

mod leader;
mod lost;
mod printed;
mod quorum;
mod writes;

use std::process::ExitCode;

use temps_tests::suite;

fn main() -> ExitCode {
    suite::run(&[
        ("a_rollout_survives_its_leader_at_every_phase", leader::killed_at_every_phase),
        ("a_rollback_survives_its_leader", leader::killed_during_a_rollback),
        ("a_deadline_is_kept_by_the_next_leader", leader::late),
        ("values_of_variables_are_printed_nowhere", printed::nowhere),
        ("a_frozen_leader_moves_nothing", leader::frozen),
        ("a_rollout_goes_on_without_a_lost_node", lost::for_longer_than_its_lease),
        ("failover_takes_seconds", writes::failover),
        ("acknowledged_writes_survive_kills", writes::kept),
        ("no_quorum_is_no_outage", quorum::alone),
        ("a_killed_edge_is_back_with_its_routes", quorum::edge),
        ("a_restarted_cluster_has_forgotten_nothing", quorum::all_down),
    ])
}
