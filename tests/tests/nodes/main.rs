//! Machines that are emptied, machines that leave for good, what their edges count, names with their certificates, who
//! may do what, and what all of it looks like in a browser.

mod access;
mod dashboard;
mod domains;
mod drain;
mod edges;
mod history;
mod notifications;
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
        ("an_edge_is_renewed_with_its_server_and_fails_no_request", edges::renewed),
        ("a_socket_of_the_service_manager_refuses_nobody_while_its_edge_is_dead", edges::activated),
        ("what_clients_got_is_told_exactly_by_every_node", history::exact),
        ("a_release_is_seen_to_drain_second_by_second", history::drained),
        ("certificates_are_ordered_and_renewed_whoever_leads", domains::ordered),
        ("a_name_is_shown_by_tls_where_http_does_not_arrive", domains::by_tls),
        ("a_given_certificate_is_shown_by_every_node", domains::given),
        ("maintenance_answers_in_place_of_an_application", domains::maintenance),
        ("a_name_is_verified_and_belongs_to_one_environment", domains::verified),
        ("the_first_admins_code_is_shown_once_and_the_last_admin_stays", access::people),
        ("a_token_of_one_project_sees_and_touches_no_other", access::one_project),
        ("each_change_has_one_audit_entry_in_one_chain", access::audit),
        ("a_person_runs_the_cluster_in_a_browser_and_its_node_is_lost", dashboard::watched),
        ("a_page_in_a_browser_says_when_nothing_can_be_changed_and_who_is_signed_out", dashboard::alone),
        ("what_strangers_wrote_stays_text_in_a_browser", dashboard::hostile),
        ("notices_arrive_whoever_leads_and_a_dead_receiver_delays_nobody", notifications::told),
        ("notices_arrive_by_mail", notifications::mailed),
        ("the_leaders_node_is_removed", remove::leading),
    ])
}
