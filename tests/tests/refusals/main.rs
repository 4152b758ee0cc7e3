//! What is refused, with which exit code and which words.

mod commands;
mod joining;

use std::process::ExitCode;

use temps_tests::suite;

fn main() -> ExitCode {
    suite::run(&[
        ("a_join_token_of_another_cluster_is_refused", joining::other_cluster),
        ("a_used_join_token_is_refused", joining::used),
        ("an_api_token_does_not_join", joining::wrong_kind),
        ("exit_codes_say_what_went_wrong", commands::exit_codes),
        ("files_are_checked_before_anything_is_sent", commands::files),
        ("secrets_are_not_printed", commands::secrets),
    ])
}
